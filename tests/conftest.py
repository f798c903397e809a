"""The set-up of every test: eight virtual CPU devices, shapes in signatures checked, no promotion.

All of it must happen before jax and r3jax are imported, hence the order of this file.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()

from jaxtyping import install_import_hook

install_import_hook(
    ["r3jax.model", "r3jax.kernels", "r3jax.rollout", "r3jax.update"], "beartype.beartype"
)

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples in every run; no deadline, since the first example may compile.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("deterministic")
