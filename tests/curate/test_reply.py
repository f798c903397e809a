"""What teachers write becomes VLIR's form, whatever they wrap around it."""

import hypothesis
import hypothesis.strategies as st
import pytest

from r3jax.curate import reply
from r3jax.data import chat, looks

LABELLED = '{"label": "x", "bbox_2d": [1, 2, 30, 40]}'
BOX = '{"bbox_2d": [1, 2, 30, 40]}'


@pytest.mark.parametrize(
    ("written", "text", "asks"),
    [
        (f"<think>There: {BOX}", f"There: {BOX}", True),
        (f"<think>There: {BOX} I see 7.</think><answer>7</answer>", f"There: {BOX}", True),
        (
            'There.\n```json\n[\n{"label": "x", "bbox_2d": [1, 2, 30, 40]}\n]\n```',
            f"There. {BOX}",
            True,
        ),
        ('There ({"bbox_2d": [1.2, 1.8, 30.4, 39.6]})', f"There {BOX}", True),
        (BOX, BOX, True),
        ('a {"bbox_2d": [1, 2]} b', 'a {"bbox_2d": [1, 2]}', True),
        (
            "<think>It says 7.</think>\n<answer> 7 </answer> Bye.",
            "It says 7.<answer>7</answer>",
            False,
        ),
        (f"<answer>7</answer> {BOX}", "<answer>7</answer>", False),
        (f"I think <answer>8 </ans<think>wer>{BOX}", f"I think 8 {BOX}", True),
        ("So <answer>8 or <answer>7</answer>", "So 8 or<answer>7</answer>", False),
    ],
)
def test_a_message_is_read_up_to_its_first_box_or_its_answer(written, text, asks):
    assert reply.read(written) == reply.Reply(text, asks)


@pytest.mark.parametrize(
    "written", ["", "I see.", "<answer></answer>", "<answer>7", '{"bbox_2d": [1']
)
def test_a_message_with_neither_is_none(written):
    assert reply.read(written) is None


def test_an_answer_that_was_begun_before_a_box_is_no_part_of_the_last_one():
    parts = [f"<answer>8 {BOX}", "So.</answer><answer>7</answer>"]
    joined = reply.join([reply.read(part) for part in parts])
    assert chat.answer_in("".join(joined)) == "7" and "".join(joined).count("answer>") == 2


def test_parts_join_to_one_thought():
    parts = [
        f"<think>Here. {BOX} x",
        f"</think><think>There. {BOX}",
        "So.</think><answer>7</answer>",
    ]
    joined = reply.join([reply.read(part) for part in parts])
    assert joined == (f"<think>Here. {BOX}", f"There. {BOX}", "So.</think><answer>7</answer>")


ODD = ['{"bbox_2d": "x"}', '{"bbox_2d": [1e999, 2, 3, 4]}', "```json\n[", "{", "}", "\n", "\ud83d"]
PIECES = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", BOX, "7", " ", *ODD])


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.lists(PIECES, max_size=8).map("".join) | st.text())
def test_nothing_that_can_be_written_breaks_the_form(written):
    found = reply.read(written)
    if found is None:
        return
    if found.asks:
        assert looks.parse_box(found.text).end in (len(found.text), -1)
        assert not any(tag in found.text for tag in ("<think>", "<answer>", "</answer>"))
    else:
        assert found.text.endswith("</answer>") and chat.answer_in(found.text)
        (joined,) = reply.join([found])
        assert joined.startswith("<think>") and joined.count("</think><answer>") == 1
        assert chat.answer_in(joined) == chat.answer_in(found.text)
