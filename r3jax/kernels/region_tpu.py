"""Windows of enlarged regions by a Pallas kernel for TPUs.

Images stay in the device's large memory. For each window the tiles of the image that it shows come
over by DMA, the next one while the last is multiplied; weights are made where they are used.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from r3jax.arrays import Array, Float, Int, UInt8
from r3jax.kernels import lanczos
from r3jax.kernels.lanczos import SIDE
from r3jax.regions import TILE, RegionBatch

CHUNK = 128  # pixels of an image that come over together, each way: whole tiles of memory
LANES = 128  # of a register: windows are 112 pixels of as many
INTEGERS = 9  # by window: image; of each axis begin, chunks, low, high
REALS = 6  # by pixel of a window: of each axis whole centre, its rest, stretch
DOWN, ACROSS = 0, 1


def cut_windows(
    planes: UInt8[Array, "images 3 height width"], regions: RegionBatch, interpret: bool = False
) -> UInt8[Array, "R W side 3 side"]:
    """Levels of the windows of `regions` (y, colour, x); anything behind the edge of a crop.

    Raises: ValueError for sides that are not whole tiles; `interpret` runs without a TPU, slowly.
    """
    if any(side % tile for side, tile in zip(planes.shape[2:], TILE)):
        raise ValueError(
            f"planes must have sides in multiples of {TILE}, found {planes.shape[2:]}: make them "
            "with r3jax.regions.as_planes"
        )
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), regions)
    integers, reals = jax.vmap(_describe)(flat)
    count = len(integers)
    tile = tuple(min(CHUNK, side) for side in planes.shape[2:])
    levels = pl.pallas_call(
        functools.partial(_kernel, planes.shape[2:], tile),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(count,),
            in_specs=[
                pl.BlockSpec((1, REALS, LANES), lambda n, _: (n, 0, 0)),
                pl.BlockSpec(memory_space=pl.ANY),
            ],
            out_specs=pl.BlockSpec((1, 3, LANES, LANES), lambda n, _: (n, 0, 0, 0)),
            scratch_shapes=[
                pltpu.VMEM((2, 3, *tile), jnp.uint8),
                pltpu.VMEM((3, tile[0], LANES), jnp.float32),
                pltpu.VMEM((3, LANES, LANES), jnp.float32),
                pltpu.SemaphoreType.DMA((2,)),
            ],
        ),
        out_shape=jax.ShapeDtypeStruct((count, 3, LANES, LANES), jnp.int32),
        interpret=interpret,
    )(integers, reals, planes)
    levels = levels[:, :, :SIDE, :SIDE].astype(jnp.uint8).transpose(0, 3, 1, 2)
    return levels.reshape(*regions.image.shape, SIDE, 3, SIDE)


def _describe(window: RegionBatch) -> tuple[Int[Array, "N"], Float[Array, "reals lanes"]]:
    """What the kernel is told of a window; one without a region has no chunks."""
    integers, reals = [window.image], []
    for axis, tile in zip(lanczos.axes(window.box, window.grid, window.number), TILE):
        begin, end = axis.span()
        begin = begin // tile * tile
        chunks = jnp.where(window.segment > 0, -(-(end - begin) // CHUNK), 0)
        integers += [begin, chunks, axis.low, axis.low + axis.length]
        whole, rest = axis.centres()
        reals += [whole.astype(jnp.float32), rest, jnp.full(SIDE, axis.stretch)]
    padded = jnp.pad(jnp.stack(reals), ((0, 0), (0, LANES - SIDE)), constant_values=1.0)
    return jnp.stack(integers), padded


def _kernel(sides, tile, integers, reals, planes, out, tiles, wide, sums, arrived):
    """One window. `out` and `sums` are (colour, x, y): the height's weights lie along lanes."""
    window = pl.program_id(0)
    begin_y, rows, *box_y = (integers[window, 1 + i] for i in range(4))
    begin_x, columns, *box_x = (integers[window, 5 + i] for i in range(4))
    steps = rows * columns

    def start(step):
        """Where the chunk of this step begins, and where it would without the image's end."""
        row, column = step // columns, step % columns
        wanted = begin_y + row * tile[0], begin_x + column * tile[1]
        at = (jnp.minimum(w, s - t) for w, s, t in zip(wanted, sides, tile))
        return tuple(pl.multiple_of(a, m) for a, m in zip(at, TILE)), wanted

    def copy(step):
        (y, x), _ = start(step)
        source = planes.at[integers[window, 0], :, pl.ds(y, tile[0]), pl.ds(x, tile[1])]
        return pltpu.make_async_copy(source, tiles.at[step % 2], arrived.at[step % 2])

    def across(column, total, row):
        step = row * columns + column
        copy(step).wait()
        pl.when(step + 1 < steps)(lambda: copy(step + 1).start())
        (_, at), (_, wanted) = start(step)
        weights = _weights(reals[0, 3:6], at, wanted, box_x, tile[1])
        for colour in range(3):
            levels = tiles[step % 2, colour].astype(jnp.int32).astype(jnp.float32)
            wide[colour] += _product(levels, weights, 1)
        return total + weights.sum(0, keepdims=True)

    def down(row, total):
        wide[...] = jnp.zeros_like(wide)
        width = lax.fori_loop(
            0, columns, functools.partial(across, row=row), jnp.zeros((1, LANES), jnp.float32)
        )
        (at, _), (wanted, _) = start(row * columns)
        weights = _weights(reals[0, 0:3], at, wanted, box_y, tile[0])
        for colour in range(3):
            levels = lanczos.to_levels(wide[colour] / _or_one(width))
            sums[colour] += _product(levels, weights, 0)
        return total + weights.sum(0, keepdims=True)

    sums[...] = jnp.zeros_like(sums)
    pl.when(steps > 0)(lambda: copy(0).start())
    height = lax.fori_loop(0, rows, down, jnp.zeros((1, LANES), jnp.float32))
    for colour in range(3):
        out[0, colour] = lanczos.to_levels(sums[colour] / _or_one(height)).astype(jnp.int32)


def _weights(centres: Array, at: Array, wanted: Array, box: list[Array], count: int) -> Array:
    """Weights [count, LANES] of the pixels from `at`; none before `wanted` or outside the box."""
    whole, rest, stretch = (centres[i : i + 1] for i in range(3))
    pixels = at + lax.broadcasted_iota(jnp.int32, (count, LANES), 0)
    inside = (pixels >= jnp.maximum(wanted, box[0])) & (pixels < box[1])
    offset = pixels.astype(jnp.float32) - whole + 0.5 - rest  # whole numbers are exact
    return jnp.where(inside, lanczos.lanczos(offset / stretch), 0.0)


def _or_one(total: Array) -> Array:
    return jnp.where(total == 0, 1.0, total)  # 0 behind the edge of a crop


def _product(values: Array, weights: Array, axis: int) -> Array:
    """The sum over `axis` of values [., .] and the first of weights, in full float32."""
    return lax.dot_general(
        values,
        weights,
        (((axis,), (0,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
