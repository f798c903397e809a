"""Rotary embeddings: over height and width in the vision tower, M-RoPE in the decoder.

Both rotate halves: the pair of value i is value i + H/2 (not i + 1). Angles are float32.
"""

import jax.numpy as jnp
import numpy as np

from r3jax.arrays import Array, Float, Int


def vision_angles(hw: Int[Array, "*X 2"], head_dim: int) -> Float[Array, "*X H"]:
    """Angles of the vision tower: a quarter of the head by row, a quarter by column, then again.

    Source: Qwen2.5-VL, theta 10000.
    """
    steps = np.arange(0, head_dim // 2, 2, dtype=np.float32) / (head_dim // 2)
    frequency = (10000.0**-steps).astype(np.float32)
    angles = jnp.repeat(hw.astype(jnp.float32), len(frequency), axis=-1)
    angles = angles * jnp.broadcast_to(np.tile(frequency, 2), angles.shape)
    return jnp.concatenate([angles, angles], axis=-1)


def text_angles(
    positions: Int[Array, "3 *X"], section: tuple[int, int, int], theta: float
) -> Float[Array, "*X H"]:
    """M-RoPE angles: contiguous parts of half the head turn by time, height and width.

    With section (2, 3, 3) the axes of the eight frequencies are t t h h h w w w (Qwen3-VL
    interleaves them; Qwen2.5-VL does not).
    """
    half = sum(section)
    frequency = (theta ** -(np.arange(half, dtype=np.float32) / half)).astype(np.float32)
    axis = np.repeat(np.arange(3), section)
    angles = jnp.moveaxis(positions.astype(jnp.float32)[axis], 0, -1)
    angles = angles * jnp.broadcast_to(frequency, angles.shape)
    return jnp.concatenate([angles, angles], axis=-1)


def rotate(x: Float[Array, "*X N H"], cos: Array, sin: Array) -> Float[Array, "*X N H"]:
    """Turns each head by angles given as cos and sin [*X, H]."""
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos[..., None, :] + jnp.concatenate([-second, first], axis=-1) * sin[..., None, :]
