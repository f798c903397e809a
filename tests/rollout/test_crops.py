"""Every way from boxes to patches gives the same places, and a platform's way is known."""

import doctest

import jax
import numpy as np
import pytest

from r3jax import patches
from r3jax.buckets import ImageBucket
from r3jax.regions import Region
from r3jax.rollout import crops

BUCKETS = (ImageBucket(2, 4, 64), ImageBucket(1, 1, 16))
ASKED = [
    Region(1, (3, 0, 90, 60), 112, 168),
    Region(0, (0, 0, 64, 48), 56, 56),
    Region(1, (3, 0, 90, 60), 112, 168),
]


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in [(48, 64), (60, 90)]]


def test_host_and_device_put_equal_crops_in_equal_places():
    by_host, by_device = (
        crops.cut(crops.keep(pictures(), way), ASKED, BUCKETS, "crops")
        for way in (crops.Way.HOST, crops.Way.XLA)
    )
    for one, other in zip(by_host[1], by_device[1], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(by_host[1][0], by_host[1][2])
    host, device = by_host[0], jax.device_get(by_device[0])
    np.testing.assert_array_equal(host.segment, device.segment)
    np.testing.assert_array_equal(host.hw, device.hw)
    level = 1 / 255 / min(patches.STD)
    np.testing.assert_allclose(device.patches, host.patches, atol=2.01 * level)


def test_images_go_to_the_device_only_for_a_way_that_reads_them_there():
    assert crops.keep(pictures(), crops.Way.HOST).planes is None
    kept = crops.keep(pictures(), crops.Way.XLA, height=100, width=1)
    assert kept.planes.shape == (2, 3, 128, 128)


def test_the_platforms_way_is_no_guess():
    assert crops.way_for(jax.default_backend()) is crops.Way.HOST
    with pytest.raises(ValueError, match="for platform 'abacus', only for"):
        crops.way_for("abacus")
    found = doctest.testmod(crops)
    assert found.attempted and not found.failed
