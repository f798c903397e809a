"""From resized images to the patches that the vision tower reads, in rows of attention windows.

Transformers flattens an image into patches of 14x14 pixels, four neighbours (2x2) together because
the merger joins them. Windowed attention looks at squares of 4x4 such merged units. We keep patches
where attention wants them: `[R, W, U, C]` is rows of images, windows, slots of a window, values.
A windowed block attends over U, a full block over W*U; padding is masked by `segment`. Nothing is
permuted on the device.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from r3jax.arrays import Array, Float, Int, UInt8

PATCH = 14  # pixels
TEMPORAL = 2  # frames of a patch; a still image is two equal frames
MERGE = 2  # patches a side that become one token
FACTOR = PATCH * MERGE  # image sides are multiples of this
WINDOW = 4  # merged units a side of an attention window (112 pixels)
UNIT = MERGE * MERGE  # patches of a merged unit
PATCH_VALUES = 3 * TEMPORAL * PATCH * PATCH  # numbers in a flat patch

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class VisionBatch(NamedTuple):
    """Images ready for the vision tower, in rows.

    patches float32 [R, W, U, C]; segment int32 [R, W, U]: 0 is padding, k the k-th image of the
    row; hw int32 [R, W, U, 2]: row and column of the patch in its image.
    """

    patches: Array
    segment: Array
    hw: Array


@functools.cache
def normalised_levels() -> np.ndarray:
    """The value of each 8-bit level: CLIP's mean removed, in its deviations; float32 [3, 256].

    Source: the arithmetic of Transformers' image processor, whose rounding is kept bit for bit:
    rescale in float64, then normalise in float32.
    """
    levels = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None] for values in (MEAN, STD))
    return (levels - mean) / std


def patchify(image: UInt8[Array, "height width 3"]) -> Float[Array, "patches C"]:
    """Cuts a resized image into normalised flat patches in Transformers' order.

    The order of patches is (row of 2x2 blocks, column of blocks, row inside, column inside), of
    values (colour, frame, row, column). Sides must be multiples of 28.
    """
    height, width = _sides(image.shape)
    rows, columns = height // FACTOR, width // FACTOR
    x = image.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    # Levels are moved while they are bytes; the two frames are filled from one look-up.
    x = x.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns * UNIT, 3, PATCH * PATCH)
    values = np.empty((len(x), 3, TEMPORAL, PATCH * PATCH), np.float32)
    for colour, levels in enumerate(normalised_levels()):
        values[:, colour] = np.take(levels, x[:, colour], mode="clip")[:, None]
    return values.reshape(len(x), PATCH_VALUES)


def merged_grid(image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns rows and columns of an image's tokens.

    >>> merged_grid((56, 84, 3))
    (2, 3)
    """
    height, width = _sides(image_shape)
    return height // FACTOR, width // FACTOR


def window_shape(rows: int, columns: int) -> tuple[int, int]:
    """Returns how many windows an image of rows x columns tokens has, and slots of the largest.

    >>> window_shape(4, 4), window_shape(2, 2), window_shape(5, 3)
    ((1, 64), (1, 16), (2, 48))
    """
    windows = -(-rows // WINDOW) * -(-columns // WINDOW)
    return windows, UNIT * min(rows, WINDOW) * min(columns, WINDOW)


def _sides(image_shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = image_shape[:2]
    if height % FACTOR or width % FACTOR or not height or not width:
        raise ValueError(
            f"image sides must be positive multiples of {FACTOR}, found {height}x{width}: "
            "resize it first (r3jax.data.images.prepare)"
        )
    return height, width


def _window_slots(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns window and place in the window of each merged unit in raster order, int [units].

    Windows go by rows, then columns; units inside a window in raster order; edges are ragged.
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    window = (row // WINDOW) * -(-columns // WINDOW) + column // WINDOW
    width_here = np.minimum(columns - column // WINDOW * WINDOW, WINDOW)
    return window, (row % WINDOW) * width_here + column % WINDOW


def _patch_coordinates(rows: int, columns: int) -> np.ndarray:
    """Row and column of each patch, int32 [units, 4, 2], in the order of `patchify`."""
    unit = np.stack(np.divmod(np.arange(rows * columns), columns), -1)[:, None]
    inside = np.stack(np.divmod(np.arange(UNIT), MERGE), -1)[None]
    return (unit * MERGE + inside).astype(np.int32)


class Place(NamedTuple):
    """Where an image lies in a batch: its row, the first of its windows, its number in the row."""

    row: int
    window: int
    segment: int


def place(grids: Sequence[tuple[int, int]], rows: int, windows: int, slots: int) -> list[Place]:
    """Gives each image of `grids` tokens (rows, columns) the first row with room for its windows.

    Raises ValueError when the images do not fit: choose a larger bucket.

    >>> place([(4, 8), (4, 4), (4, 4)], rows=2, windows=3, slots=64)[1:]
    [Place(row=0, window=2, segment=2), Place(row=1, window=0, segment=1)]
    """
    used, images_in_row, found = np.zeros(rows, np.int64), np.zeros(rows, np.int64), []
    for image, grid in enumerate(grids):
        needed, largest = window_shape(*grid)
        fits = np.flatnonzero(used + needed <= windows)
        if not len(fits) or largest > slots:
            raise ValueError(
                f"image {image} of {len(grids)} needs {needed} windows of {largest} patches and "
                f"does not fit into {rows} rows of {windows} windows of {slots}: "
                "use a larger image bucket"
            )
        row = fits[0]
        images_in_row[row] += 1
        found.append(Place(int(row), int(used[row]), int(images_in_row[row])))
        used[row] += needed
    return found


def token_index(at: Place, grid: tuple[int, int], windows: int, slots: int) -> Int[np.ndarray, "F"]:
    """The tokens of a placed image in raster order, in the tower's flat output [R * W * U / 4]."""
    window, unit = _window_slots(*grid)
    index = (at.row * windows + at.window + window) * (slots // UNIT) + unit
    return index.astype(np.int32)


def arrange(
    patches: Sequence[Float[Array, "patches C"]],
    grids: Sequence[tuple[int, int]],
    rows: int,
    windows: int,
    slots: int,
) -> tuple[VisionBatch, list[Int[Array, "F"]]]:
    """Places images into rows of windows; several images share a row while their windows fit.

    `grids` are tokens (rows, columns) of each image. Returns the batch and, for each image, the
    index of its tokens in raster order into the tower's flat output [R * W * U / 4].
    Raises ValueError when the images do not fit: choose a larger bucket.
    """
    values = patches[0].shape[-1] if len(patches) else PATCH_VALUES
    batch = VisionBatch(
        np.zeros((rows, windows, slots, values), np.float32),
        np.zeros((rows, windows, slots), np.int32),
        np.zeros((rows, windows, slots, 2), np.int32),
    )
    places = place(grids, rows, windows, slots)
    for at, image_patches, grid in zip(places, patches, grids, strict=True):
        window, unit = _window_slots(*grid)
        window = (window + at.window)[:, None]
        slot = unit[:, None] * UNIT + np.arange(UNIT)
        batch.patches[at.row, window, slot] = image_patches.reshape(*slot.shape, values)
        batch.segment[at.row, window, slot] = at.segment
        batch.hw[at.row, window, slot] = _patch_coordinates(*grid)
    return batch, [token_index(at, grid, windows, slots) for at, grid in zip(places, grids)]
