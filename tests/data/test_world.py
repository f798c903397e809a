"""The look-again world: determinism, unambiguous names, held-out fonts and layouts, true boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.data import frames, vlir, world
from r3jax.data.world import faces, layouts

SINGLE = world.WorldConfig(questions_per_image=1)
STYLES = (
    world.PrintStyle(heights=(10, 11), jitter=2, relief=False, stain=0.0, gold_side=84),
    world.PrintStyle(),
)


def draw(family: str, index: int, split: str = "train", **kwargs) -> world.Picture:
    config = world.WorldConfig(families=(family,), **kwargs)
    return world.draw_picture(5, index, split, config)[0]


def test_a_sample_is_the_same_whatever_was_asked_before():
    alone = world.sample(3, 41, "train")
    others = [world.sample(3, i, "train") for i in (40, 42, 7)]
    again = world.sample(3, 41, "train")
    assert (alone.image == again.image).all() and alone.image is not again.image
    assert (alone.question, alone.rationale, alone.tags) == (
        again.question,
        again.rationale,
        again.tags,
    )
    assert (alone.image == others[0].image).all(), "neighbours share a picture"
    assert alone.question not in [other.question for other in others]
    assert not np.array_equal(alone.image, world.sample(4, 41, "train").image)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(tuple(world.FAMILIES)), st.integers(0, 10**6), st.sampled_from(STYLES))
def test_places_hold_what_the_picture_promises(family, index, style):
    picture = draw(family, index, print=style)
    height, width = picture.image.shape[:2]
    assert picture.image.dtype == np.uint8 and (width, height) in layouts.SIZES
    assert 3 <= len(picture.places) <= 6
    numbers = [place.number for place in picture.places]
    assert len(set(numbers)) == len(numbers)
    names = [name for place in picture.places for name in place.words.values()]
    assert len(set(names)) == len(names), "a name means one place"
    cells = [(place.row, place.column) for place in picture.places]
    assert cells == sorted(set(cells)), "raster order, one place a cell"
    for place in picture.places:
        assert _inside(place.plate_box, place.gold_box) and _inside(place.gold_box, place.cell_box)
        assert place.cell_box == ((place.column - 1) * 84, (place.row - 1) * 84,
                                  place.column * 84, place.row * 84)  # fmt: skip
        assert _inside(place.cell_box, (0, 0, width, height))


def _inside(inner, outer) -> bool:
    low = all(o <= i for o, i in zip(outer[:2], inner[:2]))
    return low and all(i <= o for i, o in zip(inner[2:], outer[2:]))


@pytest.mark.parametrize("family", world.FAMILIES)
def test_what_is_held_out_is_never_drawn_for_training(family):
    drawn = {
        split: [draw(family, i, split) for i in range(60)] for split in ("train", "valid", "test")
    }
    seen = {picture.layout for split in ("train", "valid") for picture in drawn[split]}
    assert not seen & {picture.layout for picture in drawn["test"]}
    assert {p.face for p in drawn["test"]} <= {face.name for face in faces.TEST_FACES}
    assert {p.face for p in drawn["train"]} <= {face.name for face in faces.TRAIN_FACES}
    assert not {f.name for f in faces.TEST_FACES} & {f.name for f in faces.TRAIN_FACES}


def test_words_say_what_is_drawn():
    for index in range(30):
        for place in draw("chart", index).places:
            heights = [other.row for other in draw("chart", index).places]
            if place.words.get("height") == "the tallest bar":
                assert place.row == min(heights)
        scene = draw("scene", index)
        rows, columns = scene.image.shape[0] // 84, scene.image.shape[1] // 84
        for place in scene.places:
            if place.words.get("position") == "the one at the top left":
                assert 2 * place.row <= rows and 2 * place.column <= columns
        lines = draw("document", index).places
        assert [p.words["order"] for p in lines][:2] == ["the first line", "the second line"]
        assert lines[-1].words["last"] == "the last line"
        bars = sorted(draw("chart", index).places, key=lambda p: p.column)
        assert bars[0].words["order"] == "the first bar" and "last" in bars[-1].words


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_answer_follows_from_the_places_that_the_rationale_looks_at(index, two):
    config = world.WorldConfig(two_look_share=float(two))
    sample = world.sample(1, index, "train", config)
    numbers = [sample.places[target].number for target in sample.targets]
    expected = {"compare": max(numbers), "add": sum(numbers)}.get(sample.tags["kind"], numbers[0])
    assert sample.answer == str(expected)
    assert sample.rationale[-1].endswith(f"</think><answer>{sample.answer}</answer>")
    assert len(sample.rationale) == len(sample.targets) + 1 == (3 if two else 2)
    frame = frames.Frame.fit(*sample.image.shape[:2], vlir.VLIR_BOUNDS)
    for segment, box, target in zip(sample.rationale, sample.boxes_original, sample.targets):
        assert box == sample.places[target].gold_box == frame.to_resized(box)
        assert segment.endswith(world.questions.box_text(box))
    if two:
        assert all(place.number < 10 for place in sample.places), "size does not tell"


def test_questions_of_a_picture_ask_about_different_places():
    for index in range(20):
        config = world.WorldConfig(two_look_share=0.0, questions_per_image=3)
        samples = world.samples_of_picture(2, index, "train", config)
        assert len({sample.targets for sample in samples}) == 3


def test_glyphs_of_a_face_differ_from_each_other():
    for face in faces.TRAIN_FACES + faces.TEST_FACES:
        for text in ("0123456789", "ABCDEFGH"):
            masks = [faces.text_mask(char, face, 11) for char in text]
            same = [
                (a, b)
                for a in range(len(text))
                for b in range(a)
                if abs(masks[a] - masks[b]).sum() < 4
            ]
            assert not same, f"{face.name}: {[(text[a], text[b]) for a, b in same]}"


def test_impossible_settings_say_what_is_possible():
    with pytest.raises(ValueError, match=r"split must be one of .* got 'dev'"):
        world.sample(0, 0, "dev")
    with pytest.raises(ValueError, match="families must be some of"):
        world.WorldConfig(families=("scene", "map"))
    with pytest.raises(ValueError, match=r"two_look_share must lie in 0..1, got 1.5"):
        world.WorldConfig(two_look_share=1.5)
    with pytest.raises(ValueError, match="gold_side must be 84 or 42, got 60"):
        world.PrintStyle(gold_side=60)
