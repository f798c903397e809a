"""Windows of enlarged regions by XLA: chunks of a box times weights, as many as a window shows."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from r3jax.arrays import Array, UInt8
from r3jax.kernels import lanczos
from r3jax.kernels.lanczos import SIDE, Axis
from r3jax.regions import RegionBatch

CHUNK = 192  # pixels of an image that are read together, each way: a window and what it overlaps


def cut_windows(
    planes: UInt8[Array, "images 3 height width"], regions: RegionBatch
) -> UInt8[Array, "R W side 3 side"]:
    """Levels of the windows of `regions` (y, colour, x); anything behind the edge of a crop."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), regions)
    levels = lax.map(functools.partial(_cut_window, planes), flat)
    return levels.reshape(*regions.image.shape, *levels.shape[1:])


def _cut_window(planes: Array, window: RegionBatch) -> Array:
    """One window: the width of each chunk of rows, rounded to 8 bits, then the height."""
    down, across = lanczos.axes(window.box, window.grid, window.number)
    # A window without a region spans nothing: the loop over its chunks ends at once.
    down = down._replace(length=jnp.where(window.segment > 0, down.length, 0))
    height, width = (min(CHUNK, limit) for limit in planes.shape[2:])

    def rows(y: Array, weights: Array) -> Array:
        def tile(x: Array, weights: Array) -> Array:
            at = (window.image, 0, y, x)
            found = lax.dynamic_slice(planes, at, (1, 3, height, width))[0]
            return _product("ycx,xt->yct", found.swapaxes(0, 1).astype(jnp.float32), weights)

        total, sums = _weigh(across, tile, planes.shape[3], (height, 3, SIDE))
        return _product("yct,yo->oct", lanczos.to_levels(sums / total[None, None]), weights)

    total, sums = _weigh(down, rows, planes.shape[2], (SIDE, 3, SIDE))
    return lanczos.to_levels(sums / total[:, None, None]).astype(jnp.uint8)


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
        at = jnp.minimum(first, limit - chunk)
        pixels = at + lax.iota(jnp.int32, chunk)
        weights = jnp.where((pixels >= first)[:, None], axis.weights(pixels), 0.0)
        total, values = sums
        return total + weights.sum(0), values + read(at, weights)

    nothing = jnp.zeros(SIDE, jnp.float32), jnp.zeros(shape, jnp.float32)
    total, values = lax.fori_loop(0, -(-(end - begin) // chunk), step, nothing)
    return jnp.where(total == 0, 1.0, total), values  # 0 behind the edge of a crop


def _product(axes_of: str, values: Array, weights: Array) -> Array:
    return jnp.einsum(axes_of, values, weights, precision=lax.Precision.HIGHEST)
