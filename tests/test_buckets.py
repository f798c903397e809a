"""Buckets: the smallest that holds, and messages that name what did not fit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax import buckets
from tests import tiny


@given(st.lists(st.integers(1, 500), min_size=1), st.integers(0, 500))
def test_the_smallest_bucket_that_holds_is_chosen(sizes, needed):
    if needed > max(sizes):
        with pytest.raises(ValueError, match=f"needs {needed}, the largest bucket is {max(sizes)}"):
            buckets.choose(sizes, needed, "prompt_tokens")
    else:
        assert buckets.choose(sizes, needed, "x") == min(s for s in sizes if s >= needed)


def test_an_empty_list_of_buckets_is_named():
    with pytest.raises(ValueError, match=r"buckets\.crops is empty: give at least one size"):
        buckets.Buckets((64,), (96,), 48, tiny.BUCKETS.images, ())


def test_images_fit_where_a_row_has_windows_left():
    two = buckets.ImageBucket(rows=2, windows=3, slots=36)
    assert two.holds([2, 1, 3], 36) and two.holds([], 0)
    assert not two.holds([2, 2, 2], 36) and not two.holds([4], 36) and not two.holds([1], 40)


def test_features_of_a_bucket_are_what_the_tower_gives():
    assert buckets.ImageBucket(rows=3, windows=2, slots=64).features == 3 * 2 * 16


def padding(fill: tuple[float, ...], sigma: float, batches: int = 100) -> np.ndarray:
    """The share of padding in streams of 16 groups of 5 episodes of log-normal length."""
    image, found = (buckets.ImageBucket(1, 1, 4),), []
    for seed in range(batches):
        rng = np.random.default_rng(seed)
        suffixes = np.exp(rng.normal(np.log(300), sigma, (16, 5))).clip(1, 2048).astype(int)
        prompts = rng.integers(300, 512, 16)
        longest = buckets.choose((256, 512, 1024, 2048), suffixes.max(), "suffix_tokens")
        shapes = buckets.Buckets((512,), (longest,), 1, image, image, fill)
        sizes = shapes.stream_tokens(16 * 512 + suffixes.size * longest)
        real = suffixes.sum() + prompts.sum()
        found.append(1 - real / buckets.choose(sizes, real, "stream_tokens"))
    return np.array(found)


def test_streams_of_episodes_of_log_normal_length_have_little_padding():
    close = tuple(0.85**power for power in range(11))
    for sigma in (0.4, 0.6, 0.8):
        padded, default, fine = (
            padding(fill, sigma).mean() for fill in ((1.0,), buckets.Buckets.fill, close)
        )
        assert fine < 0.1 and default < 0.15 < 0.5 < padded


def test_shares_that_leave_no_room_for_padding_are_named():
    for fill in ((0.5, 0.9), (0.0, 1.0)):
        with pytest.raises(ValueError, match=r"buckets\.fill are shares above 0, the largest 1\.0"):
            dataclasses.replace(tiny.BUCKETS, fill=fill)
