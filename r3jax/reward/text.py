"""The parts of an episode's text: its reasoning, the boxes in it, the segments between them."""

import re

# As decoding stops (`rollout.stops`): an object with the key among others, up to the first } after.
BOX = re.compile(r'\{[^{}]*?"bbox_2d"[^}]*\}')
MESSAGE = re.compile(r"\(No view: [^()]*\)")  # forced after a failed look, never the model's
_TAGS = re.compile(r"</?(?:think|answer)>")


def reasoning(text: str) -> str:
    """Everything before the last `<answer>`, without `<think>` tags and without boxes.

    >>> reasoning('<think>look {"bbox_2d": [1, 2, 3, 4]} red</think><answer>A</answer>')
    'look red'
    """
    return " ".join(part for part in segments(text) if part)


def segments(text: str) -> tuple[str, ...]:
    """The reasoning cut at its boxes: n boxes give n + 1 segments, tags,
    messages about failed looks and outer spaces removed.

    >>> segments('<think>look {"bbox_2d": [1, 2, 3, 4]} </think><answer>A</answer>')
    ('look', '')
    >>> segments('the door {"label": "door", "bbox_2d": [1, 2, 3, 4]} is red')
    ('the door', 'is red')
    """
    before_answer = text.rpartition("<answer>")[0] if "<answer>" in text else text
    before_answer = _TAGS.sub("", MESSAGE.sub("", before_answer))
    return tuple(part.strip() for part in BOX.split(before_answer))


def closed_thought(text: str) -> bool:
    """Whether the text closes its `</think>` before its last `<answer>`."""
    before_answer = text.rpartition("<answer>")[0] if "<answer>" in text else text
    return "</think>" in before_answer


def ends_with_answer(text: str) -> bool:
    """Whether the text holds exactly one `<answer>...</answer>`, not empty, and ends with it."""
    if text.count("<answer>") != 1 or text.count("</answer>") != 1:
        return False
    match = re.search(r"<answer>(.*)</answer>\s*$", text, re.DOTALL)
    return match is not None and match[1].strip() != ""
