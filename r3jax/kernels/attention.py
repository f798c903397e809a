"""Attention: over the segments of a row of patches, and over a shared prefix plus an own suffix.

Three back-ends compute the same: XLA (`attention_xla`, the reference), cuDNN on NVIDIA GPUs
(`attention_cudnn`), splash attention on TPUs (`attention_splash`). None of them gives way to
another: what a back-end cannot compute is an error that says so.

>>> default_backend("cpu", "float32"), default_backend("gpu", "bfloat16")
(<Backend.XLA: 'xla'>, <Backend.CUDNN: 'cudnn'>)
"""

import enum
from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike

from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels import attention_cudnn, attention_splash, attention_xla
from r3jax.kernels.past import KEPT, Past

__all__ = [
    "KEPT", "Backend", "Past", "attend_group", "attend_past", "attend_segments", "default_backend",
]  # fmt: skip


class Backend(enum.StrEnum):
    """What computes attention: XLA on any device, cuDNN on NVIDIA GPUs, splash on TPUs."""

    XLA = "xla"
    CUDNN = "cudnn"
    SPLASH = "splash"


_MODULES = {
    Backend.XLA: attention_xla,
    Backend.CUDNN: attention_cudnn,
    Backend.SPLASH: attention_splash,
}


def default_backend(platform: str, dtype: DTypeLike) -> Backend:
    """The back-end of a platform, named as `jax.default_backend()` does, for computing in `dtype`.

    A GPU has cuDNN's for 16 bits and XLA's for others, which cuDNN does not take.
    Raises: ValueError for a platform that is not known.
    """
    match platform:
        case "cpu":
            return Backend.XLA
        case "gpu":
            return Backend.CUDNN if jnp.dtype(dtype).itemsize == 2 else Backend.XLA
        case "tpu":
            return Backend.SPLASH
    raise ValueError(
        f"no back-end of attention is chosen for platform {platform!r}, only for cpu, gpu and "
        f"tpu: name one of {[backend.value for backend in Backend]}"
    )


def attend_segments(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X T N H"],
    v: Float[Array, "X T N H"],
    segment: Int[Array, "X T"],
    backend: Backend = Backend.XLA,
) -> Float[Array, "X T N H"]:
    """Attends within each segment of a row, both ways; segment 0 is padding and gives no signal.

    What comes out at padding has no meaning and differs between back-ends.
    Raises: ValueError for a dtype or a head size that `backend` cannot compute.
    """
    return _MODULES[backend].attend_segments(q, k, v, segment)


def attend_group(
    q: Float[Array, "B G T N H"],
    k: Float[Array, "B K G T H"],
    v: Float[Array, "B K G T H"],
    valid: Bool[Array, "B G T"] | None,
    pasts: Sequence[Past] = (),
    backend: Backend = Backend.XLA,
) -> Float[Array, "B G T N H"]:
    """Attends from suffix tokens causally to the `valid` ones among them (all, if it is None), and
    to all that came before them: `pasts`, whose queries are the whole group's where they have no G.

    Query heads N are grouped over key heads K in order (head n reads key head n // (N / K)). What
    comes out at tokens that are not valid has no meaning and differs between back-ends.
    Raises: ValueError for a dtype or a head size that `backend` cannot compute.
    """
    return _MODULES[backend].attend_group(q, k, v, valid, pasts)


def attend_past(q: Float[Array, "B G T N H"], pasts: Sequence[Past]) -> Float[Array, "B G T N H"]:
    """Attends from suffix tokens to `pasts` alone; as in `attend_group`.

    By XLA everywhere: with one query a row there are no blocks of scores to save.
    """
    return attention_xla.attend_past(q, pasts)
