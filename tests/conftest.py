"""The set-up of every test: eight virtual CPU devices, shapes in signatures checked, no promotion.

It runs before any test module imports r3jax (the check of shapes is added at import) and before JAX
starts its backend (which is when XLA_FLAGS are read).
"""

import os

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

CHECKED = ["r3jax.model", "r3jax.kernels", "r3jax.rollout", "r3jax.update"]
install_import_hook(CHECKED, "beartype.beartype")

# The same examples in every run; no deadline, since the first example may compile.
hypothesis.settings.register_profile(
    "deterministic", derandomize=True, deadline=None, database=None
)
hypothesis.settings.load_profile("deterministic")
