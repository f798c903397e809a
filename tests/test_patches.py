"""Patches equal those of Transformers' image processor bit for bit, and keep their places."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax import patches
from r3jax.data import frames, images
from tests.model import released, sequences

PROCESSOR = released.GOLDEN / "parity" / "processor.npz"
FITTED = ["enlarge", "shrink_height", "shrink_width", "thin", "minimum", "bankers"]


def test_patches_are_bit_equal_to_those_of_transformers():
    with np.load(PROCESSOR) as stored:
        expected = stored["exact"]
    found = patches.patchify(sequences.draw(28, 56, seed=1))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", FITTED)
def test_an_image_fitted_and_cut_is_bit_equal_to_transformers(name):
    with np.load(PROCESSOR) as stored:
        height, width = stored[f"{name}/original"].tolist()
        bounds = frames.PixelBounds(*stored[f"{name}/bounds"].tolist())
        sides, sha256 = stored[f"{name}/sides"].tolist(), str(stored[f"{name}/sha256"])
    image = images.prepare(sequences.draw(height, width, seed=len(name)), bounds)
    assert list(image.shape[:2]) == sides
    assert sequences.fingerprint(patches.patchify(image)) == sha256


@pytest.mark.parametrize("shape", [(28, 30, 3), (0, 28, 3)])
def test_an_image_of_other_sides_is_an_error(shape):
    expected = f"multiples of 28, found {shape[0]}x{shape[1]}: resize it first"
    with pytest.raises(ValueError, match=re.escape(expected)):
        patches.patchify(np.zeros(shape, np.uint8))


grids = st.lists(st.tuples(st.integers(1, 11), st.integers(1, 11)), min_size=1, max_size=5)


@given(grids, st.integers(0, 3))
@settings(max_examples=50)
def test_every_patch_has_one_place_and_padding_is_zero(grids, spare):
    shapes = [patches.window_shape(*grid) for grid in grids]
    windows = sum(shape[0] for shape in shapes) + spare
    slots = max(shape[1] for shape in shapes)
    counts = [patches.UNIT * rows * columns for rows, columns in grids]
    numbers = np.split(np.arange(1, sum(counts) + 1, dtype=np.float32), np.cumsum(counts)[:-1])
    batch, index = patches.arrange([n[:, None] for n in numbers], grids, 1, windows, slots)

    placed = batch.patches[..., 0]
    assert sorted(placed[placed > 0].tolist()) == list(range(1, sum(counts) + 1))
    padding = batch.segment == 0
    assert not placed[padding].any() and not batch.hw[padding].any()
    units = placed.reshape(-1, patches.UNIT)
    for number, (grid, rows) in enumerate(zip(grids, index)):
        np.testing.assert_array_equal(units[rows].ravel(), numbers[number])
        assert (batch.segment.reshape(-1, patches.UNIT)[rows] == number + 1).all()
        hw = batch.hw.reshape(-1, patches.UNIT, 2)[rows]
        raster = hw[:, 0] // patches.MERGE  # (row, column) of each token
        np.testing.assert_array_equal(raster @ [grid[1], 1], np.arange(grid[0] * grid[1]))


@given(st.integers(1, 13), st.integers(1, 13))
def test_a_window_holds_the_tokens_of_one_square(rows, columns):
    windows, slots = patches.window_shape(rows, columns)
    cut = np.zeros((patches.UNIT * rows * columns, 1), np.float32)
    batch, _ = patches.arrange([cut], [(rows, columns)], 1, windows, slots)
    squares = [
        {tuple(square) for square in batch.hw[0, w][batch.segment[0, w] > 0] // 8}
        for w in range(windows)
    ]
    assert all(len(square) == 1 for square in squares)
    assert [square.pop() for square in squares] == [
        (row, column) for row in range(-(-rows // 4)) for column in range(-(-columns // 4))
    ]


def test_images_that_do_not_fit_name_image_and_bucket():
    cut = np.zeros((patches.UNIT * 30, 1), np.float32)
    expected = "image 1 of 2 needs 4 windows of 64 patches and does not fit into 1 rows of 7"
    with pytest.raises(ValueError, match=expected):
        patches.arrange([cut, cut], [(5, 6), (5, 6)], 1, 7, 64)
