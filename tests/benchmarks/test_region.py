"""The looks of the benchmark: what both sides cut is the same and fits its bucket."""

import numpy as np
import pytest

from benchmarks import region
from benchmarks.ours import region as ours
from r3jax import patches, regions
from r3jax.data import images


@pytest.mark.parametrize("name, looks", [("large", 64), ("script", 80)])
def test_looks_lie_in_their_images_and_fit_the_bucket(name, looks):
    pictures, asked = region.work(name)
    assert len(set(asked)) == len(asked) == looks
    for one in asked:
        x1, y1, x2, y2 = one.box
        height, width, _ = pictures[one.image].shape
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert regions.pack_regions(asked, [region.BUCKETS[name]], name)[0].segment.any()


def test_the_looks_are_the_same_every_time():
    assert region.work("large")[1] == region.work("large")[1]


def test_our_side_cuts_every_look():
    _, calls = ours.crops()
    assert set(calls) == {"large", "large xla", "script", "script xla"}
    asked, batch = region.work("script")[1], calls["script"]()
    expected = sum(one.height * one.width for one in asked) // patches.PATCH**2
    assert np.count_nonzero(batch.segment) == expected
    assert np.asarray(batch.patches).std() > 0.1


@pytest.mark.slow
@pytest.mark.oracle
def test_the_peer_makes_the_patches_that_the_host_makes():
    pytest.importorskip("transformers")
    from benchmarks.peers import region as peer

    _, calls = peer.crops()
    found = calls["script"]()
    pictures, asked = region.work("script")
    count = patches.UNIT * (asked[0].height // patches.FACTOR) ** 2
    first = patches.patchify(images.cut_crop(pictures[0], asked[0]))
    # Pillow 13 may resize the height first: other levels, the same patches.
    assert found.shape == (len(asked) * count, patches.PATCH_VALUES)
    assert np.corrcoef(found[:count].ravel(), first.ravel())[0, 1] > 0.999
