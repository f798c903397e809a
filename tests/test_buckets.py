"""Buckets: the smallest that holds, and messages that name what did not fit."""

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
