"""Stops: the automaton over tokens against a regular expression over the text."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.rollout import stops
from tests import tiny

OPENED = rb'\{(?:(?!</answer>)[^{}])*?"bbox_2d"'
REFERENCE = re.compile(OPENED + rb"[^}]*\}|</answer>")
PIECES = [
    '{"bbox_2d"', '"bbox_2d"', "{", "}", '"', ": [1, 2, 3, 4]", "]}", "] }", " ", "\n", "bbox_2d",
    "</answer>", "</answ", "<", "/", "answer>", "er>", '{"box": ', r"\frac{a}{b}", "x", "é", '{"b',
]  # fmt: skip


def expected(text: bytes) -> tuple[int, int]:
    """State after the text, and where its first stop ends (-1: none), by regular expression.

    A match that begins earlier hides what lies inside of it: `</answer>` in an open box is part of
    the box, so an unclosed box swallows the rest.
    """
    opened = re.search(OPENED, text)
    found = REFERENCE.search(text)
    if found is None or (opened and opened.start() < found.start()):
        return stops.START, -1
    state = stops.ANSWER_CLOSED if found.group().startswith(b"<") else stops.BOX_CLOSED
    return state, found.end()


def follow(table: stops.StopTable, tokens, state: int = stops.START) -> int:
    """The state after the tokens."""
    for token in tokens:
        state = int(table.next_state[state, token])
    return state


def cut(text: bytes, sizes: list[int]) -> list[bytes]:
    """The text in pieces of the given sizes, over and over."""
    parts, turn = [], 0
    while text:
        size = sizes[turn % len(sizes)]
        parts, text, turn = [*parts, text[:size]], text[size:], turn + 1
    return parts


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.lists(st.integers(1, 9), min_size=1))
def test_stops_exactly_where_the_reference_does_however_the_text_is_cut(pieces, sizes):
    text = "".join(pieces).encode()
    state, end = expected(text)
    parts = cut(text, sizes)
    table = stops.build(parts, len(parts) + 3)
    seen, now = 0, stops.START
    for number, part in enumerate(parts):
        now = follow(table, [number], now)
        seen += len(part)
        # From the token that holds the end of the stop on, and never before.
        assert (now in (stops.BOX_CLOSED, stops.ANSWER_CLOSED)) == (0 < end <= seen)
    assert now == state or state == stops.START


def run(text: str) -> int:
    """The state after the text, through the tiny tokenizer's tokens."""
    table = stops.build(tiny.tk().token_bytes(), tiny.VOCAB)
    return follow(table, tiny.tk().encode(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_2d": [1, 2, 3, 4]}',
        'see { \n"bbox_2d": [1, 2, 3, 4] \n } and more',
        '{"bbox_2d": [1, 2], "label": "door", "more": 1}',
        '{"bbox_2d": "hack"}',
        '{"view": {"bbox_2d": [1, 2, 3, 4]}',
        '{{"bbox_2d": [1, 2, 3, 4]}',
        '{"bbox_2{"bbox_2d": [1, 2, 3, 4]}',
        '{"bbox_2d": [1, 2, 3, 4]}</answer>',
        '{"label": "door", "bbox_2d": [1, 2, 3, 4]}',
        r'\frac{a}{b} {x < y "bbox_2d": [1]}',
    ],
)
def test_a_closed_box_stops(text):
    assert run(text) == stops.BOX_CLOSED


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{a}{b} + \sqrt{[1]} = {\text{x}]}",
        '{"box": [1, 2, 3, 4]} and {"a": {"b": [1]}}',
        '"bbox_2d": [1, 2, 3, 4]}',
        '{"bbox_2d": [1, 2, 3, 4]',
        '{"bbox_3d": [1, 2, 3, 4]}',
        '{"a": 1} "bbox_2d": [1]}',
        "<answer>7</answer",
        "< /answer> </ answer>",
        "",
    ],
)
def test_other_text_does_not_stop(text):
    assert run(text) not in (stops.BOX_CLOSED, stops.ANSWER_CLOSED)


def test_an_answer_stops_and_specials_and_padding_change_nothing():
    table = stops.build(tiny.tk().token_bytes(), tiny.VOCAB)
    begin, end = tiny.tk().encode("<answer>7</ans"), tiny.tk().encode("wer>")
    between = [tiny.tk().ids.vision_start, tiny.VOCAB - 1]
    assert follow(table, [*begin, *between, *end]) == stops.ANSWER_CLOSED
    assert follow(table, end, stops.ANSWER_CLOSED) == stops.ANSWER_CLOSED
    unchanged = np.arange(len(table.next_state))
    np.testing.assert_array_equal(table.next_state[:, tiny.VOCAB - 1], unchanged)
