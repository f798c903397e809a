"""M-RoPE positions equal Transformers', and go on across calls as in one."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax import patches, positions
from tests.model import released, sequences

IMAGE = 590


def test_examples_in_the_docstrings_hold():
    for module in (positions, patches):
        found = doctest.testmod(module)
        assert found.attempted and not found.failed, module.__name__


@pytest.mark.parametrize("case", range(8))
def test_positions_equal_those_of_transformers(case):
    with np.load(released.GOLDEN / "parity" / "positions.npz") as stored:
        tokens, grids, expected = (stored[f"{case}/{k}"] for k in ("tokens", "grids", "positions"))
    found, following = positions.rope_index(tokens, grids.tolist(), IMAGE)
    np.testing.assert_array_equal(found, expected)
    assert following == expected.max() + 1


grids = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=4)


@given(grids, grids, st.integers(0, 1000))
def test_a_sequence_in_two_parts_has_the_positions_of_the_whole(first, second, seed):
    config = released.tiny_config("untied")
    parts = [
        sequences.compose([np.zeros((28 * h, 28 * w, 3)) for h, w in grids], config, seed + i)
        for i, grids in enumerate((first, second))
    ]
    whole, end = positions.rope_index(np.concatenate(parts), first + second, IMAGE)
    one, middle = positions.rope_index(parts[0], first, IMAGE)
    two, end_of_two = positions.rope_index(parts[1], second, IMAGE, start=middle)
    np.testing.assert_array_equal(np.concatenate([one, two], axis=1), whole)
    assert end_of_two == end


@pytest.mark.parametrize("grid", [(1, 2), (2, 2)])
def test_image_tokens_that_do_not_fit_the_grids_are_an_error(grid):
    with pytest.raises(ValueError, match="image tokens"):
        positions.rope_index(np.array([1, IMAGE, IMAGE, IMAGE, 2]), [grid], IMAGE)


def test_image_tokens_that_are_torn_apart_are_an_error():
    with pytest.raises(ValueError, match="1x2 tokens of an image at 0 are not in a row"):
        positions.rope_index(np.array([IMAGE, 1, IMAGE]), [(1, 2)], IMAGE)
