"""Regions are placed as crops of the host are, and images are stored as they are."""

import re

import numpy as np
import pytest

from r3jax import batches, regions
from r3jax.buckets import ImageBucket
from r3jax.records import Region

BUCKET = ImageBucket(rows=2, windows=6, slots=64)
CROPS = [  # the third is the first again
    Region(0, (0, 0, 10, 20), 112, 224),
    Region(1, (5, 5, 6, 9), 140, 56),
    Region(0, (0, 0, 10, 20), 112, 224),
    Region(1, (0, 0, 10, 20), 28, 28),
    Region(1, (0, 0, 10, 20), 112, 336),
]


def test_regions_lie_where_crops_of_their_sizes_would():
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8) for c in CROPS]
    crops[2] = crops[0]
    expected, index = batches.pack_images(crops, [BUCKET], "crops")
    batch, bucket, found = regions.pack_regions(CROPS, [BUCKET], "crops")
    assert bucket == BUCKET
    np.testing.assert_array_equal(batch.segment, expected.segment[..., 0])
    for one, other in zip(found, index, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_window_knows_its_region_and_its_number_in_it():
    batch, _, _ = regions.pack_regions(CROPS, [BUCKET], "crops")
    np.testing.assert_array_equal(batch.segment, [[1, 1, 2, 2, 3, 0], [1, 1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(batch.number, [[0, 1, 0, 1, 0, 0], [0, 1, 2, 0, 0, 0]])
    np.testing.assert_array_equal(batch.image[0], [0, 0, 1, 1, 1, 0])
    np.testing.assert_array_equal(batch.box[0, 3], CROPS[1].box)
    np.testing.assert_array_equal(batch.grid[0, 3], (5, 2))


def test_the_smallest_bucket_is_taken():
    small = ImageBucket(1, 2, 64)
    assert regions.pack_regions(CROPS[:1], [BUCKET, small], "crops")[1] == small
    batch, bucket, index = regions.pack_regions([], [BUCKET, small], "crops")
    assert bucket == small and not index and not batch.segment.any()


def test_regions_that_do_not_fit_name_what_they_are():
    with pytest.raises(ValueError, match=re.escape("crops of a step: 1 images of 20 windows")):
        regions.pack_regions([Region(0, (0, 0, 9, 9), 448, 560)], [BUCKET], "crops of a step")
    with pytest.raises(ValueError, match="multiples of 28, found 30x28"):
        regions.pack_regions([Region(0, (0, 0, 9, 9), 30, 28)], [BUCKET], "crops")


def test_planes_hold_the_image_and_zeros():
    image = np.random.default_rng(1).integers(1, 256, (33, 5, 3), dtype=np.uint8)
    planes = regions.as_planes(image, *regions.whole_tiles(33, 5))
    assert planes.shape == (3, 64, 128) and planes.dtype == np.uint8
    np.testing.assert_array_equal(np.moveaxis(planes[:, :33, :5], 0, -1), image)
    assert np.count_nonzero(planes) == image.size
