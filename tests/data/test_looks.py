"""Looks: every text ends in an outcome, and the right one."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.data import frames, images, looks
from r3jax.records import Look, LookOutcome

RULES = looks.LookRules(crop=frames.PixelBounds.of_tokens(4, 64))
FRAME = frames.Frame.fit(600, 900, frames.PixelBounds.of_tokens(4, 100))  # 224 x 336
IMAGE = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)


def outcome_of(text: str, earlier=()) -> LookOutcome:
    return looks.take_look(text, IMAGE, FRAME, earlier, RULES).outcome


def box(*numbers) -> str:
    return json.dumps({"bbox_2d": numbers})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (box(10, 20, 110, 90), LookOutcome.OK),
        ('{"bbox_2d":[10.5,20,110.25,90]}', LookOutcome.OK),
        ('{ "label": "a {sign}", "bbox_2d" :\n[10, 20, 110, 90\n] }', LookOutcome.OK),
        ('[{"bbox_2d": [10, 20, 110, 90], "more": {"deep": [{}]}}]', LookOutcome.OK),
        ('{"outer": {"bbox_2d": [10, 20, 110, 90]}}', LookOutcome.OK),
        (box(1, 1) + " no: " + box(10, 20, 110, 90) + " and so", LookOutcome.OK),
        (box(10, 20, 110, 90) + box(1, 2), LookOutcome.WRONG_ARITY),
        ("", LookOutcome.UNPARSABLE),
        ('"bbox_2d": [1, 2, 30, 40]', LookOutcome.UNPARSABLE),
        ("{'bbox_2d': [1, 2, 30, 40]}", LookOutcome.UNPARSABLE),
        (box(10, 20, 110, 90) + ' {"bbox_2d": [1, 2', LookOutcome.UNPARSABLE),
        ('{"a": 1} "bbox_2d"', LookOutcome.UNPARSABLE),
        ('{"bbox_2d": ' + "[" * 100_000, LookOutcome.UNPARSABLE),
        ("{" * 50_000 + '"bbox_2d"' + "}" * 50_000, LookOutcome.UNPARSABLE),
        ('{"bbox_2d": [' + "9" * 5000 + ", 1, 2, 3]}", LookOutcome.UNPARSABLE),
        ('{"bbox_2d": "hack"}', LookOutcome.NOT_NUMBERS),
        ('{"bbox_2d": {"x1": 1}}', LookOutcome.NOT_NUMBERS),
        (box(), LookOutcome.WRONG_ARITY),
        (box(1, 2, 3, 4, 5), LookOutcome.WRONG_ARITY),
        (box([1, 2], [3, 4], 1, 2), LookOutcome.NOT_NUMBERS),
        (box(1, 2, "30", 40), LookOutcome.NOT_NUMBERS),
        (box(True, 2, 30, 40), LookOutcome.NOT_NUMBERS),
        (box(1, 2, None, 40), LookOutcome.NOT_NUMBERS),
        (box(math.nan, 2, 30, 40), LookOutcome.NOT_NUMBERS),
        (box(1, 2, math.inf, 40), LookOutcome.NOT_NUMBERS),
        ('{"bbox_2d": [1, 2, 1e999, 4]}', LookOutcome.NOT_NUMBERS),
        ('{"bbox_2d": [' + "9" * 330 + ", 1, 2, 3]}", LookOutcome.NOT_NUMBERS),
        (box(9, 9, 1, 1), LookOutcome.SWAPPED),
        (box(5, 5, 5, 50), LookOutcome.SWAPPED),
        (box(400, 20, 500, 90), LookOutcome.OUTSIDE),
        (box(-100, -100, -10, -10), LookOutcome.OUTSIDE),
        (box(10, 20, 400, 90), LookOutcome.OUTSIDE),
        (box(-1e308, 20, 1e308, 90), LookOutcome.OUTSIDE),
        (box(-28, -28, 100, 100), LookOutcome.OK),
        (box(-28.5, 0, 100, 100), LookOutcome.OUTSIDE),
        (box(10, 20, 13.9, 90), LookOutcome.TOO_SMALL),
        (box(333, 20, 350, 90), LookOutcome.TOO_SMALL),
        (box(0, 20, 300, 24), LookOutcome.TOO_THIN),
        (box(0, 0, 336, 224), LookOutcome.OK),
    ],
)
def test_outcome_of(text, expected):
    assert outcome_of(text) is expected


def test_a_look_carries_boxes_zoom_and_a_crop_of_the_original():
    look = looks.take_look('see {"bbox_2d": [-5, 0, 84, 56]}', IMAGE, FRAME, (), RULES)
    assert look.text == '{"bbox_2d": [-5, 0, 84, 56]}'
    assert look.box_resized == (0.0, 0.0, 84.0, 56.0)
    assert look.box_original == pytest.approx((0.0, 0.0, 225.0, 150.0))
    assert look.zoom == 2.0
    rows, columns = frames.smart_resize(300, 450, RULES.crop)
    expected = images.resize(IMAGE[:150, :225], rows, columns, images.LANCZOS)
    np.testing.assert_array_equal(look.crop, expected)


def test_looks_given_before_are_not_given_again_and_end_at_the_limit():
    first = looks.take_look(box(10, 20, 110, 90), IMAGE, FRAME, (), RULES)
    assert outcome_of(box(10, 20, 110.1, 90), [first]) is LookOutcome.DUPLICATE
    assert outcome_of(box(10, 20, 112, 90), [first]) is LookOutcome.OK
    failed = Look(box(10, 20, 110, 90), LookOutcome.TOO_SMALL, (10.0, 20.0, 110.0, 90.0))
    assert outcome_of(box(10, 20, 110, 90), [failed]) is LookOutcome.OK
    assert outcome_of(box(10, 20, 110, 90), [failed] * 7) is LookOutcome.OK
    assert outcome_of(box(10, 20, 110, 90), [failed] * 8) is LookOutcome.TOO_MANY


def check_look(text: str, image: np.ndarray, frame: frames.Frame) -> None:
    """Every promise of `take_look`, whatever was written."""
    look = looks.take_look(text, image, frame, (), RULES)
    if look.outcome is not LookOutcome.OK:
        assert look.crop is None and looks.message(look.outcome)
        return
    height, width, channels = look.crop.shape
    assert look.crop.dtype == np.uint8 and channels == 3
    assert height % 28 == 0 and width % 28 == 0
    assert height * width <= RULES.crop.max_pixels
    x1, y1, x2, y2 = look.box_resized
    assert 0 <= x1 < x2 <= frame.resized_width and 0 <= y1 < y2 <= frame.resized_height


@given(st.text())
def test_no_text_makes_it_raise(text):
    check_look(text, IMAGE, FRAME)
    check_look(f'{{"bbox_2d": {text}}}', IMAGE, FRAME)
    check_look(f'{{"bbox_2d": [{text}]', IMAGE, FRAME)


NUMBERS = st.one_of(
    st.integers(-50, 400), st.floats(-50, 400), st.floats(), st.integers(), st.booleans()
)
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from(["bbox_2d", "label", "x"]), inner, max_size=3),
    ),
)


@given(st.lists(NUMBERS, max_size=6) | JSON, JSON, st.integers(0, 40))
def test_no_json_makes_it_raise(value, other, cut):
    text = json.dumps({"bbox_2d": value, "other": other})
    check_look(text, IMAGE, FRAME)
    check_look(text[: len(text) - cut], IMAGE, FRAME)
    check_look(json.dumps([other, {"bbox_2d": value}]), IMAGE, FRAME)


@given(st.integers(1, 60), st.integers(1, 60), st.tuples(*[st.floats(0, 1)] * 4))
def test_any_box_on_any_image_gives_a_crop_or_an_outcome(height, width, shares):
    image = np.zeros((height, width, 3), np.uint8)
    frame = frames.Frame.fit(height, width, frames.PixelBounds.of_tokens(4, 96))
    sides = (frame.resized_width, frame.resized_height) * 2
    numbers = [round(share * side, 2) for share, side in zip(shares, sides)]
    check_look(box(*numbers), image, frame)


def test_whole_pixels_can_be_too_thin_where_the_box_is_not():
    image = np.zeros((10, 1000, 3), np.uint8)
    frame = frames.Frame.fit(10, 1000, RULES.crop)
    rules = dataclasses.replace(RULES, max_aspect=200, min_side=1)
    written = frame.to_resized((0.5, 0.0, 200.5, 1.0))  # 201 x 1 pixels once rounded outwards
    assert looks.take_look(box(*written), image, frame, (), rules).outcome is LookOutcome.TOO_THIN


def test_every_failure_has_its_own_short_sentence():
    failures = [outcome for outcome in LookOutcome if outcome is not LookOutcome.OK]
    assert all(0 < len(looks.message(outcome)) < 60 for outcome in failures)
    with pytest.raises(ValueError, match="has a crop and no message"):
        looks.message(LookOutcome.OK)


def test_rules_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match=r"max_aspect in 1\.\.200, came 300"):
        looks.LookRules(RULES.crop, max_aspect=300)
    with pytest.raises(ValueError, match="max_looks >= 0"):
        looks.LookRules(RULES.crop, max_looks=-1)
