"""The set-up of every test: eight virtual CPU devices, shapes in signatures checked, no promotion.

It runs before any test module imports r3jax (the check of shapes is added at import) and before JAX
starts its backend (which is when XLA_FLAGS are read).
"""

import atexit
import os
import shutil
import tempfile

import hypothesis
import jax
from jaxtyping import install_import_hook

DEVICES = 8

os.environ["JAX_PLATFORMS"] = "cpu"  # for the programs that tests start
jax.config.update("jax_platforms", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={DEVICES}"]
).strip()
jax.config.update("jax_numpy_rank_promotion", "raise")

# What one test has compiled, others of this run find, on all workers and in programs they start.
COMPILED = "R3JAX_TESTS_COMPILED"
if COMPILED not in os.environ:
    os.environ[COMPILED] = tempfile.mkdtemp(prefix="r3jax-compiled-")
    atexit.register(shutil.rmtree, os.environ[COMPILED], ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ[COMPILED]
jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

CHECKED = ["r3jax.model", "r3jax.kernels", "r3jax.rollout", "r3jax.update"]
install_import_hook(CHECKED, "beartype.beartype")

# The same examples in every run; no deadline, since the first example may compile.
hypothesis.settings.register_profile(
    "deterministic", derandomize=True, deadline=None, database=None
)
hypothesis.settings.load_profile("deterministic")


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
