"""Regions of images that a device is to cut and enlarge, as one record an attention window.

A region becomes windows of 112x112 pixels at most; each of them is made by itself, from the part of
the image that it shows. So padding is windows without a region, and no shape depends on an aspect.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from r3jax import batches, patches
from r3jax.arrays import Array, Int, UInt8
from r3jax.buckets import ImageBucket
from r3jax.records import Region

# Sides of stored images are multiples of these: the tiles that 8-bit arrays have in a TPU's memory.
TILE = (32, 128)


class RegionBatch(NamedTuple):
    """What each window of a `VisionBatch` shows, all int32; `segment` 0 shows nothing.

    image [R, W]: the number of the image; box [R, W, 4]: the whole region, x1, y1, x2, y2 in
    pixels; grid [R, W, 2]: rows and columns of the region's tokens; number [R, W]: which of the
    region's windows, by rows; segment [R, W]: as in a `VisionBatch`.
    """

    image: Array
    box: Array
    grid: Array
    number: Array
    segment: Array


def pack_regions(
    regions: Sequence[Region], choices: Sequence[ImageBucket], what: str
) -> tuple[RegionBatch, ImageBucket, list[Int[np.ndarray, "F"]]]:
    """Places regions into the smallest bucket, as `batches.pack_images` would place their crops.

    Equal regions are stored once. Returns the batch, its bucket and each region's feature indices.
    Raises: ValueError where no bucket takes them, or a size is no multiple of 28.
    """
    batch, bucket, (index,) = pack_parts([regions], choices, what)
    return batch, bucket, index


def pack_parts(
    parts: Sequence[Sequence[Region]], choices: Sequence[ImageBucket], what: str
) -> tuple[RegionBatch, ImageBucket, list[list[Int[np.ndarray, "F"]]]]:
    """As `pack_regions`, of several parts, each in rows of its own of the same bucket."""
    distinct = [list(dict.fromkeys(part)) for part in parts]
    grids = [[patches.merged_grid((one.height, one.width)) for one in part] for part in distinct]
    bucket = batches.choose_images(grids, choices, what)
    packed, index = zip(*(_fill(*part, bucket) for part in zip(distinct, grids)))
    numbers = [[found[region] for region in part] for part, found in zip(parts, index)]
    return batches.join_rows(packed), bucket, numbers


def _fill(
    distinct: Sequence[Region], grids: Sequence[tuple[int, int]], bucket: ImageBucket
) -> tuple[RegionBatch, dict[Region, Int[np.ndarray, "F"]]]:
    """Regions in rows of a bucket, and the feature indices of each."""
    places = patches.place(grids, bucket.rows, bucket.windows, bucket.slots)
    batch = empty_regions(bucket)
    for region, grid, at in zip(distinct, grids, places):
        count, _ = patches.window_shape(*grid)
        where = at.row, slice(at.window, at.window + count)
        batch.image[where], batch.box[where], batch.grid[where] = region.image, region.box, grid
        batch.number[where], batch.segment[where] = np.arange(count), at.segment
    index = {
        region: patches.token_index(at, grid, bucket.windows, bucket.slots)
        for region, grid, at in zip(distinct, grids, places)
    }
    return batch, index


def empty_regions(bucket: ImageBucket) -> RegionBatch:
    """Windows that show nothing."""
    shape = (bucket.rows, bucket.windows)
    image, number, segment = (np.zeros(shape, np.int32) for _ in range(3))
    box, grid = np.zeros((*shape, 4), np.int32), np.ones((*shape, 2), np.int32)
    return RegionBatch(image, box, grid, number, segment)


def whole_tiles(height: int, width: int) -> tuple[int, int]:
    """The sides that an image of these sides is stored with.

    >>> whole_tiles(1080, 1920)
    (1088, 1920)
    """
    return -(-height // TILE[0]) * TILE[0], -(-width // TILE[1]) * TILE[1]


def as_planes(
    image: UInt8[np.ndarray, "_ _ 3"], height: int, width: int
) -> UInt8[np.ndarray, "3 height width"]:
    """An image as the device keeps it: planes of colour, padded right and below."""
    planes = np.zeros((3, height, width), np.uint8)
    planes[:, : image.shape[0], : image.shape[1]] = np.moveaxis(image, -1, 0)
    return planes
