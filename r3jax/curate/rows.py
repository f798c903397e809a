"""Rows of a file in whichever of three formats it is: traces or questions as VLIR published them,
or conversations. Nothing is opened but the file itself, a row at a time."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

from r3jax.data import conversations, frames, json_rows, vlir
from r3jax.data.json_rows import RowError

TRACES, QUESTIONS, CONVERSATIONS = "VLIR traces", "VLIR questions", "conversations"


@dataclasses.dataclass(frozen=True)
class Found:
    """What stands in a place of a file: a row, with its `format` and the names of its crop files,
    or an error. `line` is from 1 on, 0 for the whole file; `value` what the file holds there."""

    where: str
    line: int
    value: object
    format: str = ""
    row: vlir.SftRow | vlir.RlRow | None = None
    crops: tuple[str, ...] = ()
    error: RowError | None = None


def read(
    path: str | pathlib.Path, root: str | pathlib.Path, boxes_in: frames.PixelBounds
) -> Iterator[Found]:
    """The rows of a file whose images lie under `root`, the bad ones with their error.

    The first row that has a format says which the file's is. What makes the rest of a file
    unreadable is an error of its own, the last one.
    """
    of_file = ""
    try:
        for item in json_rows.read(path):
            found = _find(item, root, boxes_in, of_file)
            of_file = of_file or found.format
            yield found
    except RowError as error:
        yield Found(str(path), 0, None, of_file, error=error)


def _find(
    item: json_rows.JsonRow, root: str | pathlib.Path, boxes_in: frames.PixelBounds, of_file: str
) -> Found:
    format = ""
    try:
        values = vlir.object_of(item)
        format = _format(values, item.where)
        if of_file and format != of_file:
            told = f"{item.where}: expected {of_file} as before, found {format}"
            raise RowError(f"{told}: keep them in files of their own", "another format")
        row, crops = _row(item.where, values, format, root, boxes_in)
        return Found(item.where, item.line, item.value, format, row, crops)
    except RowError as error:
        return Found(item.where, item.line, item.value, format, error=error)


def _format(values: Mapping, where: str) -> str:
    if conversations.is_conversation(values):
        return CONVERSATIONS
    if "response_list" in values:
        return TRACES
    if "answer" in values:
        return QUESTIONS
    keys = ", ".join(map(str, values)) or "nothing"
    told = f"expected 'response_list', 'answer', 'conversations' or 'messages', found {keys}"
    raise RowError(f"{where}: {told}", "no known format")


def _row(
    where: str,
    values: Mapping,
    format: str,
    root: str | pathlib.Path,
    boxes_in: frames.PixelBounds,
) -> tuple[vlir.SftRow | vlir.RlRow, tuple[str, ...]]:
    """The row, and the names of its crop files ("" for what is no name)."""
    if format == CONVERSATIONS:
        values = conversations.as_trace(values, where)
    image = vlir.locate(where, values, root)
    if format == QUESTIONS:
        return vlir.rl_row(where, values, image, boxes_in), ()
    row = vlir.sft_row(where, values, image, boxes_in)
    names = (name if isinstance(name, str) else "" for name in values["img_crop_list"])
    return row, tuple(names)
