"""Frames: the size a model sees an image at, and boxes in each size."""

import pathlib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from r3jax.data import frames

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "data"
SIDES = st.integers(1, 5000)
TOKENS = st.integers(1, 4096)


@st.composite
def some_bounds(draw) -> frames.PixelBounds:
    fewest = draw(st.integers(1, 64))
    return frames.PixelBounds.of_tokens(fewest, fewest * draw(st.integers(4, 64)))


def test_smart_resize_equals_transformers_on_every_golden_size():
    # h, w, min_pixels, max_pixels, height, width by Transformers 5.23; -1 where it raises.
    rows = np.load(GOLDEN / "smart_resize.npz")["rows"].tolist()
    assert len(rows) == 4024
    refused = 0
    for height, width, fewest, most, *expected in rows:
        bounds = frames.PixelBounds(fewest, most)
        if expected == [-1, -1]:
            refused += 1
            with pytest.raises(ValueError, match="differ by at most 200 times"):
                frames.smart_resize(height, width, bounds)
        else:
            assert frames.smart_resize(height, width, bounds) == tuple(expected)
    assert refused == 24


@given(SIDES, SIDES, some_bounds())
def test_smart_resize_keeps_bounds_and_multiples_of_28(height, width, bounds):
    assume(max(height, width) <= 200 * min(height, width))
    sides = frames.smart_resize(height, width, bounds)
    assert all(side % 28 == 0 and side >= 28 for side in sides)
    # An image held at one token's height or width may be over the bound, as in Transformers.
    assert sides[0] * sides[1] <= bounds.max_pixels or min(sides) == 28
    if max(height, width) <= 4 * min(height, width) and bounds.max_pixels >= 16 * bounds.min_pixels:
        assert sides[0] * sides[1] >= bounds.min_pixels


@given(SIDES, SIDES, some_bounds(), st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_go_there_and_back_within_half_a_resized_pixel(height, width, bounds, shares):
    assume(max(height, width) <= 200 * min(height, width))
    frame = frames.Frame.fit(height, width, bounds)
    sides = (frame.resized_width, frame.resized_height) * 2
    exact = tuple(share * side for share, side in zip(shares, sides))
    np.testing.assert_allclose(frame.to_resized(frame.to_original(exact)), exact, atol=1e-6)
    written = tuple(float(round(value)) for value in exact)  # models write whole numbers
    back = frame.to_resized(frame.to_original(written))
    assert max(abs(a - b) for a, b in zip(back, exact)) <= 0.5 + 1e-6


@given(SIDES, SIDES, some_bounds(), st.data())
def test_a_planned_crop_holds_the_box_and_lies_in_the_image(height, width, bounds, data):
    assume(max(height, width) <= 200 * min(height, width))
    frame = frames.Frame.fit(height, width, bounds)
    x1, y1 = data.draw(st.floats(0, width - 1)), data.draw(st.floats(0, height - 1))
    x2, y2 = data.draw(st.floats(x1 + 0.5, width)), data.draw(st.floats(y1 + 0.5, height))
    assume(max(x2 - x1, y2 - y1) <= 50 * min(x2 - x1, y2 - y1))
    plan = frames.plan_crop(frame, (x1, y1, x2, y2), bounds)
    left, top, right, bottom = plan.box
    assert 0 <= left <= x1 + 1e-5 and 0 <= top <= y1 + 1e-5
    assert x2 - 1e-5 <= right <= width and y2 - 1e-5 <= bottom <= height
    assert right - left < x2 - x1 + 2 and bottom - top < y2 - y1 + 2
    assert plan.zoom == frames.zoom_of((right - left) * (bottom - top) / (height * width))
    assert plan.height % 28 == 0 and plan.width % 28 == 0


def test_zoom_falls_from_two_to_one_without_a_jump():
    areas = np.linspace(0, 1, 1001)
    zooms = np.array([frames.zoom_of(area) for area in areas])
    assert frames.zoom_of(0.12499) == 2 and frames.zoom_of(0.125) == 2 and frames.zoom_of(0.5) == 1
    assert (np.diff(zooms) <= 0).all() and abs(np.diff(zooms)).max() < 0.003
    assert frames.zoom_of(0.3125) == pytest.approx(1.5)


def test_small_crops_are_enlarged_twice_and_whole_boxes_stay_whole():
    frame = frames.Frame.fit(1000, 2000, frames.PixelBounds.of_tokens(4, 128))
    bounds = frames.PixelBounds.of_tokens(4, 1024)
    box = frame.to_original(frame.to_resized((100.0, 200.0, 240.0, 284.0)))
    plan = frames.plan_crop(frame, box, bounds)
    assert plan == frames.CropPlan((100, 200, 240, 284), 2.0, 168, 280)


def test_bad_sizes_bounds_and_boxes_are_named():
    with pytest.raises(ValueError, match="sides of at least 1 pixel, came 0 x 5"):
        frames.smart_resize(0, 5, frames.PixelBounds.of_tokens(4, 16))
    with pytest.raises(ValueError, match="min_pixels=10, max_pixels=5"):
        frames.PixelBounds(10, 5)
    frame = frames.Frame.fit(100, 100, frames.PixelBounds.of_tokens(4, 16))
    with pytest.raises(ValueError, match="must overlap the original image"):
        frames.plan_crop(frame, (200.0, 0.0, 300.0, 50.0), frames.PixelBounds.of_tokens(4, 16))
