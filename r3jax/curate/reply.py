"""What a teacher wrote, brought into VLIR's form: a text that ends with a box, or the answer."""

import dataclasses
import json
import re

from r3jax.data import looks
from r3jax.reward import text as texts

_TAGS = re.compile(r"</?(?:think|answer)>")
_FENCE = re.compile(r"(?:```(?:json)?\s*)?[\[(\s]*$")  # in which models like to put JSON
_ANSWERED = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Reply:
    """A part of a trace: `text` ends with a box where `asks`, otherwise with the answer."""

    text: str
    asks: bool


def read(text: str) -> Reply | None:
    """A message up to its first box or its answer, without other tags and without a box's
    decoration; None where it has neither.

    >>> read('<think>There: ```json [{"bbox_2d": [1, 2, 30, 40], "label": "x"}]``` I see 7').text
    'There: {"bbox_2d": [1, 2, 30, 40]}'
    """
    answered = _ANSWERED.search(text)
    box = texts.BOX.search(text)
    if box is not None and (answered is None or box.start() < answered.start()):
        before = _FENCE.sub("", _plain(text[: box.start()])).rstrip()
        return Reply(f"{before} {_box(text[: box.end()], box[0])}".strip(), asks=True)
    if answered is None or not (answer := _plain(answered[1]).rstrip()):
        return None
    return Reply(f"{_plain(text[: answered.start()]).rstrip()}<answer>{answer}</answer>", False)


def join(replies: list[Reply]) -> tuple[str, ...]:
    """The parts of a trace as one thought: it opens before the first and closes at the answer."""
    segments = [reply.text for reply in replies]
    segments[0] = "<think>" + segments[0]
    before, tag, answer = segments[-1].rpartition("<answer>")
    segments[-1] = f"{before}</think>{tag}{answer}"
    return tuple(segments)


def _plain(text: str) -> str:
    """A text without tags, nor what becomes one when others are gone: training would read them."""
    while (shorter := _TAGS.sub("", text)) != text:
        text = shorter
    return text.lstrip()


def _box(upto: str, written: str) -> str:
    """The box in the one form that traces have, in whole pixels; as written where it is none."""
    parsed = looks.parse_box(upto)
    if parsed.box is None:
        return written
    return json.dumps({looks.BOX_KEY: [round(side) for side in parsed.box]})
