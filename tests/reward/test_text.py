"""Boxes in an episode's text: found where decoding stops, whatever keys stand beside theirs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.data import looks
from r3jax.records import LookOutcome, Source
from r3jax.reward import text as texts
from r3jax.rollout import stops
from r3jax.view import figure, pieces
from tests.reward.examples import BOX, make_episode, make_look, thought

LABELLED = '{"label": "red card", "bbox_2d": [28, 28, 112, 84]}'
BOXES = [BOX, LABELLED, '{"bbox_2d": [1, 2, 3, 4], "label": "a"}', '{ "n": 1,\n"bbox_2d": "no"}']


@pytest.mark.parametrize("box", BOXES)
def test_a_box_is_no_part_of_the_reasoning(box):
    text = thought(f"look {box} it is red")
    assert texts.segments(text) == ("look", "it is red")
    assert texts.reasoning(text) == "look it is red"
    assert looks.parse_box(text).text == box


@pytest.mark.parametrize("text", ['{"label": "a"}', r"\frac{1}{2}", '{"a": {}, "bbox_2d": [1]', ""])
def test_other_braces_are_words(text):
    assert texts.segments(text) == (text,)


PARTS = st.sampled_from(["{", "}", '"bbox_2d"', '"bbox', '"', '"label": ', "[1, 2]", "é ", "\n"])


@given(st.lists(PARTS, max_size=16).map("".join))
def test_a_box_ends_where_decoding_stops(text):
    table, state, ends = stops.byte_table(), stops.START, []
    for end, character in enumerate(text, 1):
        for byte in character.encode():
            state = table[state, byte]
        if state == stops.BOX_CLOSED:
            state = stops.START
            ends.append(end)
    assert [match.end() for match in texts.BOX.finditer(text)] == ends


def test_a_look_is_shown_behind_its_box_wherever_its_key_stands():
    failed = make_look(LookOutcome.SWAPPED)
    text = thought(f"look {LABELLED} red {BOX} again")
    episode = make_episode(text, [make_look(), failed])
    first, second = text.index(LABELLED) + len(LABELLED), text.index(BOX) + len(BOX)
    assert pieces.cut(episode) == [
        pieces.Words(text[:first], Source.SAMPLED),
        pieces.LookHere(0),
        pieces.Words(text[first:second], Source.SAMPLED),
        pieces.LookHere(1),
        pieces.Words(text[second:], Source.SAMPLED),
    ]
    blocks = [block for block in figure._blocks(episode, 2000) if hasattr(block, "lines")]
    assert [block.lines for block in blocks[:4]] == [["look"], [LABELLED], ["red"], [BOX]]
