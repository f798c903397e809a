"""LANCZOS as Pillow resizes with it: which pixels of an image a window of a crop shows, weighted.

Source: Pillow before 13 (`Resample.c`); it rounds weights to 22 bits, here they are float32.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from r3jax import patches
from r3jax.arrays import Array, Float, Int

SIDE = patches.WINDOW * patches.FACTOR  # pixels of a window
LOBES = 3  # the filter's reach, in units of its width


class Axis(NamedTuple):
    """One axis of a window: what it shows of an image, int32 scalars.

    `low` is the box's first pixel, of `length`; the crop has `size` pixels, those of the window
    begin with its pixel `first`.
    """

    low: Array
    length: Array
    size: Array
    first: Array

    @property
    def stretch(self) -> Array:
        """Pixels of the image that a unit of the filter covers."""
        return jnp.maximum(self.length / self.size, 1.0)

    def span(self) -> tuple[Array, Array]:
        """The pixels of the image that have weights: the first one and that behind the last."""
        scale, support = self.length / self.size, LOBES * self.stretch
        last = jnp.minimum(self.first + SIDE, self.size)
        begin = jnp.floor(self.first * scale - support).astype(jnp.int32)
        end = jnp.ceil(last * scale + support).astype(jnp.int32)
        return self.low + jnp.maximum(begin, 0), self.low + jnp.minimum(end, self.length)

    def centres(self) -> tuple[Array, Array]:
        """Where in the image the window's pixels have their centres: whole pixels, and the rest.

        int32 and float32 [SIDE]: in one number, large images would lose places.
        """
        doubled = (2 * (self.first + lax.iota(jnp.int32, SIDE)) + 1) * self.length
        whole, rest = jnp.divmod(doubled, 2 * self.size)
        return self.low + whole, rest / (2 * self.size)

    def weights(self, pixels: Int[Array, "P"]) -> Float[Array, "P side"]:
        """What pixels of the image add to those of the window, before they are made to sum to 1."""
        whole, rest = self.centres()
        offset = (pixels[:, None] - whole[None]).astype(jnp.float32) + 0.5 - rest[None]
        inside = (pixels >= self.low) & (pixels < self.low + self.length)
        return jnp.where(inside[:, None], lanczos(offset / self.stretch), 0.0)


def axes(box: Int[Array, "4"], grid: Int[Array, "2"], number: Int[Array, ""]) -> tuple[Axis, Axis]:
    """The axes of a region's window, down and across, from its part of a `RegionBatch`."""
    x1, y1, x2, y2 = box
    rows, columns = grid
    row, column = jnp.divmod(number, -(-columns // patches.WINDOW))
    down = Axis(y1, y2 - y1, rows * patches.FACTOR, row * SIDE)
    return down, Axis(x1, x2 - x1, columns * patches.FACTOR, column * SIDE)


def lanczos(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sinc(x) sinc(x / 3) within three units of 0, and 0 outside."""
    third = jnp.sin(x * (np.pi / LOBES))
    whole = third * (3 - 4 * third * third)  # sin(3a) by sin(a)
    near = jnp.abs(x) < 1e-4  # 1 in float32
    value = whole * third * LOBES / jnp.where(near, 1.0, (np.pi * x) ** 2)
    return jnp.where(jnp.abs(x) < LOBES, jnp.where(near, 1.0, value), 0.0)


def to_levels(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Values rounded to 8 bits, half up, still in float32."""
    return jnp.clip(jnp.floor(values + 0.5), 0, 255)
