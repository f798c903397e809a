"""The region kernel: boxes of images on the device to the normalised patches of enlarged crops.

A window of attention, 112x112 pixels of a crop, is made from the part of the box that it shows, by
two products with the weights of LANCZOS: the width, then the height, rounded to 8 bits after each.
That part comes in chunks of fixed size, as many as it takes; nothing else of the image is read.
Source: Pillow before 13 (`Resample.c`), within a level: it has weights of 22 bits, we float32.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from r3jax import patches
from r3jax.arrays import Array, Float, UInt8
from r3jax.patches import FACTOR, MERGE, PATCH, TEMPORAL, UNIT, VisionBatch
from r3jax.regions import RegionBatch

SIDE = patches.WINDOW * FACTOR  # pixels of a window
CHUNK = 128  # pixels of an image that are read together, each way
LOBES = 3  # of LANCZOS


@functools.partial(jax.jit, static_argnames="slots")
def cut_regions(
    planes: UInt8[Array, "images 3 height width"], regions: RegionBatch, slots: int
) -> VisionBatch:
    """Cuts regions [R, W] out of images, enlarges them and arranges their patches [R, W, U, C].

    `planes` are as `regions.stack_planes` makes them, `slots` is U. Equal to `patches.arrange` of
    the same crops but for their levels: within 1 of Pillow's on 99.9 % of values, 2 on all.
    """
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), regions)
    levels = lax.map(functools.partial(_cut_window, planes), flat)
    return arrange_windows(levels.reshape(*regions.image.shape, *levels.shape[1:]), regions, slots)


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
        """Pixels of the image that a weight's unit of width covers."""
        return jnp.maximum(self.length / self.size, 1.0)

    def span(self) -> tuple[Array, Array]:
        """The pixels that have weights: the first one and that behind the last, from `low`."""
        scale, support = self.length / self.size, LOBES * self.stretch
        last = jnp.minimum(self.first + SIDE, self.size)
        begin = jnp.floor(self.first * scale - support).astype(jnp.int32)
        end = jnp.ceil(last * scale + support).astype(jnp.int32)
        return jnp.maximum(begin, 0), jnp.minimum(end, self.length)

    def weights(self, pixels: Array) -> Array:
        """What `pixels` [K], counted from `low`, add to those of the window, [K, SIDE].

        Centres are whole pixels and a rest, so that float32 does not lose places on large images.
        """
        doubled = (2 * (self.first + lax.iota(jnp.int32, SIDE)) + 1) * self.length
        whole, rest = doubled // (2 * self.size), doubled % (2 * self.size)
        rest = rest / (2 * self.size)
        offset = (pixels[:, None] - whole[None]).astype(jnp.float32) + 0.5 - rest[None]
        inside = (pixels >= 0) & (pixels < self.length)
        return jnp.where(inside[:, None], lanczos(offset / self.stretch), 0.0)


def lanczos(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sinc(x) sinc(x / 3) within three units of 0, 0 outside."""
    third = jnp.sin(x * (np.pi / LOBES))
    whole = third * (3 - 4 * third * third)  # sin(3a) by sin(a)
    near = jnp.abs(x) < 1e-4  # 1 in float32
    value = whole * third * LOBES / jnp.where(near, 1.0, (np.pi * x) ** 2)
    return jnp.where(jnp.abs(x) < LOBES, jnp.where(near, 1.0, value), 0.0)


def axes(box: Array, grid: Array, number: Array) -> tuple[Axis, Axis]:
    """The axes of a region's window, down and across, from its part of a `RegionBatch`."""
    begin, end = box[:2][::-1], box[2:][::-1]
    where = jnp.stack(jnp.divmod(number, -(-grid[1] // patches.WINDOW)))
    down, across = (
        Axis(begin[i], end[i] - begin[i], grid[i] * FACTOR, where[i] * SIDE) for i in range(2)
    )
    return down, across


def _cut_window(planes: Array, window: RegionBatch) -> Array:
    """Levels uint8 [SIDE, 3, SIDE] (y, colour, x) of a window; behind the crop's edge, anything."""
    down, across = axes(window.box, window.grid, window.number)
    # A window without a region spans nothing: the loop over its chunks ends at once.
    down = down._replace(length=jnp.where(window.segment > 0, down.length, 0))

    def rows(y: Array, weights: Array) -> Array:
        def tile(x: Array, weights: Array) -> Array:
            at = (window.image, 0, y, x)
            found = lax.dynamic_slice(planes, at, (1, 3, len_y, len_x))[0]
            return _product("ycx,xt->yct", found.swapaxes(0, 1).astype(jnp.float32), weights)

        total, levels = _weigh(across, tile, planes.shape[3], (len_y, 3, SIDE))
        return _product("yct,yo->oct", to_levels(levels / total[None, None]), weights)

    len_y, len_x = (min(CHUNK, size) for size in planes.shape[2:])
    total, levels = _weigh(down, rows, planes.shape[2], (SIDE, 3, SIDE))
    return to_levels(levels / total[:, None, None]).astype(jnp.uint8)


def _weigh(
    axis: Axis, read: Callable[[Array, Array], Array], limit: int, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Sums of weights [SIDE], and of what `read` makes of each chunk and its weights, of `shape`.

    A chunk that would reach over the image's `limit` begins earlier, without weights for its part
    that was read before.
    """
    begin, end = axis.span()
    chunk = min(CHUNK, limit)

    def step(number: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        first = begin + number * chunk
        at = jnp.minimum(axis.low + first, limit - chunk)
        pixels = at - axis.low + lax.iota(jnp.int32, chunk)
        weights = jnp.where((pixels >= first)[:, None], axis.weights(pixels), 0.0)
        total, levels = sums
        return total + weights.sum(0), levels + read(at, weights)

    nothing = jnp.zeros(SIDE, jnp.float32), jnp.zeros(shape, jnp.float32)
    total, levels = lax.fori_loop(0, -(-(end - begin) // chunk), step, nothing)
    return jnp.where(total == 0, 1.0, total), levels


def to_levels(values: Array) -> Array:
    """Values rounded to 8 bits as Pillow does, half up, in float32."""
    return jnp.clip(jnp.floor(values + 0.5), 0, 255)


def _product(axes_of: str, values: Array, weights: Array) -> Array:
    return jnp.einsum(axes_of, values, weights, precision=lax.Precision.HIGHEST)


def arrange_windows(
    levels: UInt8[Array, "R W height 3 width"], regions: RegionBatch, slots: int
) -> VisionBatch:
    """Patches of windows, their segments and places; zeros where a slot shows nothing."""
    side = patches.WINDOW
    rows, columns = jnp.moveaxis(regions.grid, -1, 0)
    across = -(-columns // side)
    top, left = side * (regions.number // across), side * (regions.number % across)
    width = jnp.minimum(columns - left, side)[..., None]
    unit = jnp.arange(slots // UNIT)[None, None]
    y, x = unit // width, unit % width  # [R, W, U / 4]: tokens of a ragged window lie close
    shown = (y < (rows - top)[..., None]) & (y < side) & (regions.segment > 0)[..., None]
    y, x = jnp.where(shown, y, 0), jnp.where(shown, x, 0)

    cut = levels.reshape(*levels.shape[:2], side, MERGE, PATCH, 3, side, MERGE, PATCH)
    cut = cut.transpose(0, 1, 2, 6, 3, 7, 5, 4, 8)  # R W, unit, place in the unit, colour, pixel
    cut = cut.reshape(*cut.shape[:2], side * side, UNIT, 3, PATCH, PATCH)
    cut = jnp.take_along_axis(cut, (y * side + x)[..., None, None, None, None], axis=2)
    values = _normalise(cut)
    values = jnp.where(shown[..., None, None, None, None], values, 0.0)
    values = jnp.repeat(values[..., None, :, :], TEMPORAL, axis=-3)

    inside = np.stack(np.divmod(np.arange(UNIT), MERGE), -1)[None, None, None]
    token = jnp.stack([y + top[..., None], x + left[..., None]], axis=-1)
    hw = token[..., None, :] * MERGE + inside
    segment = jnp.where(shown, regions.segment[..., None], 0)
    shape = (*levels.shape[:2], slots)
    return VisionBatch(
        values.reshape(*shape, patches.PATCH_VALUES),
        jnp.repeat(segment, UNIT, axis=-1),
        jnp.where(shown[..., None, None], hw, 0).reshape(*shape, 2),
    )


def _normalise(levels: Array) -> Array:
    """The values of levels [..., 3, PATCH, PATCH], bit for bit those of `patches.normalise`."""
    table = jnp.asarray(patches.normalised_levels())
    colour = jnp.arange(3)[:, None, None]
    return table[levels, colour]
