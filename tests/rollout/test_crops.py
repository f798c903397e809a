"""Every way from boxes to patches gives the same places, and a platform's way is known."""

import doctest
import functools
import os
import threading

import jax
import numpy as np
import pytest

from r3jax import patches
from r3jax.buckets import ImageBucket
from r3jax.data import images
from r3jax.records import Look, LookOutcome, Region
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


def looks_at(asked) -> list[tuple[int, Look]]:
    """Looks at regions, with the places of their images."""
    return [
        (one.image, Look("", LookOutcome.OK, region=one, cut=cut))
        for one in asked
        for cut in [functools.partial(images.cut_crop, pictures()[one.image], one)]
    ]


def kept(way: crops.Way, sides=None) -> crops.Originals:
    return crops.put(crops.room(way, 2, sides), (0, 1), dict(enumerate(pictures())))


def test_host_and_device_put_equal_crops_in_equal_places():
    parts = [looks_at(ASKED), looks_at(ASKED[1:]), []]
    by_host, by_device = (
        crops.cut(kept(way), parts, BUCKETS, "crops") for way in (crops.Way.HOST, crops.Way.XLA)
    )
    assert isinstance(by_device[0].patches, jax.Array)
    assert by_host[1] == by_device[1]
    for ours, theirs in zip(by_host[2], by_device[2], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(by_host[2][0][0], by_host[2][0][2])
    host, device = by_host[0], jax.device_get(by_device[0])
    np.testing.assert_array_equal(host.segment, device.segment)
    np.testing.assert_array_equal(host.hw, device.hw)
    level = 1 / 255 / min(patches.STD)
    np.testing.assert_allclose(device.patches, host.patches, atol=2.01 * level)


def test_crops_that_show_no_region_are_taken_as_they_are_by_every_way():
    grey = Look("", LookOutcome.OK, cut=lambda: np.full((56, 56, 3), 127, np.uint8))
    batch, _, index = crops.cut(kept(crops.Way.XLA), [[(0, grey), (1, grey)]], BUCKETS, "crops")
    (index,) = index
    np.testing.assert_array_equal(index[0], index[1])
    shown = batch.patches[batch.segment > 0]
    np.testing.assert_array_equal(shown, patches.patchify(grey.crop))


def test_images_go_to_the_device_only_for_a_way_that_reads_them_there():
    assert kept(crops.Way.HOST).planes is None
    assert kept(crops.Way.XLA).planes.shape == (2, 3, 64, 128)
    planes = kept(crops.Way.XLA, sides=(100, 200)).planes
    assert planes.shape == (2, 3, 128, 256)
    for plane, picture in zip(np.asarray(planes), pictures()):
        height, width, _ = picture.shape
        np.testing.assert_array_equal(np.moveaxis(plane[:, :height, :width], 0, -1), picture)


def test_a_larger_image_gets_more_room_unless_room_is_given():
    more = crops.put(kept(crops.Way.XLA), (1,), {1: np.ones((65, 129, 3), np.uint8)})
    assert more.planes.shape == (2, 3, 128, 256)
    assert int(more.planes[1].sum()) == 65 * 129 * 3
    np.testing.assert_array_equal(
        np.moveaxis(np.asarray(more.planes[0, :, :48, :64]), 0, -1), pictures()[0]
    )
    with pytest.raises(ValueError, match=r"up to 60 x 90 pixels .* room for \(60, 64\): raise it"):
        kept(crops.Way.XLA, sides=(60, 64))


def test_the_platforms_way_is_no_guess():
    assert crops.way_for(jax.default_backend()) is crops.Way.HOST
    with pytest.raises(ValueError, match="for platform 'abacus', only for"):
        crops.way_for("abacus")
    found = doctest.testmod(crops)
    assert found.attempted and not found.failed


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
def test_the_host_cuts_several_looks_at_once():
    together = threading.Barrier(2)

    def cut() -> np.ndarray:
        together.wait(timeout=20)  # breaks where one look waits for another
        return np.zeros((56, 56, 3), np.uint8)

    asked = [
        (0, Look("", LookOutcome.OK, region=Region(0, (0, 0, n, 9), 56, 56), cut=cut))
        for n in (8, 9)
    ]
    originals = crops.room(crops.Way.HOST, 1)
    batch, bucket, (index,) = crops.cut(originals, [asked], [ImageBucket(2, 1, 16)], "looks")
    assert bucket == ImageBucket(2, 1, 16)
    assert np.count_nonzero(batch.segment) == 2 * 16 and len(index) == 2
