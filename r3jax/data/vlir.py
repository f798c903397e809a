"""The published JSON formats: VLIR traces for SFT, questions with answers for R-GRPO.

SFT, a JSON list of
    {"image_path": "a.png", "question": "...", "img_crop_list": ["a_crop.png"],
     "response_list": ["<think>... {\\"bbox_2d\\": [...]}", "... <answer>7</answer>"]}
where crop i follows text i; the crops are cut anew from the image, so only their number is used.
RL, a JSON list of
    {"image_path": "a.png", "question": "...", "answer": "7", "source": "docvqa"}
Both may carry "id" and "tags"; SFT rows may carry "train_list", one bool a text: false puts the
text into the episode without training on it. A file named `.jsonl` holds one object a line.

Reading a file checks every row and opens no image; `traces` opens them.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from r3jax.data import frames, images, json_rows
from r3jax.data.json_rows import RowError

# Boxes in VLIR's texts are pixels of an image of 4..2048 tokens. Source: published VLM-R3 code.
VLIR_BOUNDS = frames.PixelBounds.of_tokens(4, 2048)


@dataclasses.dataclass(frozen=True)
class SftRow:
    """A teacher's trace, its image not yet opened: a file's path, or a picture inside a file.

    `where` is "file, row n" for errors; boxes in the texts are pixels of an image under `boxes_in`;
    crop i of `num_crops` follows segment i; `trained` is a bool a segment.
    """

    where: str
    id: str
    image: images.ImageSource
    question: str
    tags: Mapping[str, str]
    boxes_in: frames.PixelBounds
    segments: tuple[str, ...]
    trained: tuple[bool, ...]
    num_crops: int


@dataclasses.dataclass(frozen=True)
class RlRow:
    """A question whose answer is known; `source` names the data set. Otherwise as `SftRow`."""

    where: str
    id: str
    image: images.ImageSource
    question: str
    tags: Mapping[str, str]
    boxes_in: frames.PixelBounds
    answer: str
    source: str


_AnyRow = TypeVar("_AnyRow", SftRow, RlRow)


def read_sft(
    path: str | pathlib.Path,
    root: str | pathlib.Path,
    boxes_in: frames.PixelBounds = VLIR_BOUNDS,
    strict: bool = True,
) -> tuple[list[SftRow], list[str]]:
    """Read an SFT file whose images lie under `root`: the rows, and a message a bad row.

    RowError at the first bad row if `strict`; otherwise bad rows are left out and described. A file
    that is no JSON list is a RowError either way.
    """
    return _read(path, lambda *at: sft_row(*at, boxes_in), root, strict)


def read_rl(
    path: str | pathlib.Path,
    root: str | pathlib.Path,
    boxes_in: frames.PixelBounds = VLIR_BOUNDS,
    strict: bool = True,
) -> tuple[list[RlRow], list[str]]:
    """Read an RL file whose images lie under `root`; otherwise as `read_sft`."""
    return _read(path, lambda *at: rl_row(*at, boxes_in), root, strict)


def _read(
    path: str | pathlib.Path,
    parse: Callable[[str, Mapping, pathlib.Path], _AnyRow],
    root: str | pathlib.Path,
    strict: bool,
) -> tuple[list[_AnyRow], list[str]]:
    rows, problems = [], []
    for found in json_rows.read(path):
        try:
            row = object_of(found)
            rows.append(parse(found.where, row, locate(found.where, row, root)))
        except RowError as error:
            if strict:
                raise
            problems.append(str(error))
    return rows, problems


def object_of(row: json_rows.JsonRow) -> Mapping:
    """The values of a row by name; RowError where it has none."""
    if isinstance(row.value, RowError):
        raise row.value
    if not isinstance(row.value, dict):
        raise RowError(
            f"{row.where}: expected a JSON object, found {_kind(row.value)}", "no object"
        )
    return row.value


def locate(where: str, row: Mapping, root: str | pathlib.Path) -> pathlib.Path:
    """The file of a row's image; RowError where it would lie outside `root`."""
    try:
        return images.locate(_field(row, "image_path", str, where), root)
    except images.ImageError as error:
        raise image_error(where, error) from error


def image_error(where: str, error: images.ImageError) -> RowError:
    """What is wrong with the image of a row."""
    return RowError(f"{where}: {error}", f"image {error.fault.replace('_', ' ')}")


def sft_row(
    where: str,
    row: Mapping,
    image: images.ImageSource,
    boxes_in: frames.PixelBounds = VLIR_BOUNDS,
) -> SftRow:
    """The values of an SFT row, checked; RowError beginning with `where` for a bad one."""
    segments = tuple(_list_of(str, row, "response_list", where))
    crops = _field(row, "img_crop_list", list, where)
    trained = tuple(_list_of(bool, row, "train_list", where)) if "train_list" in row else ()
    if not segments:
        raise RowError(
            f"{where}: 'response_list' must hold at least one text, found none", "no text"
        )
    if len(crops) > len(segments):
        raise RowError(
            f"{where}: expected at most {len(segments)} crops, one a text of 'response_list', "
            f"found {len(crops)} in 'img_crop_list'",
            "too many crops",
        )
    if trained and len(trained) != len(segments):
        raise RowError(
            f"{where}: expected {len(segments)} values in 'train_list', one a text of "
            f"'response_list', found {len(trained)}",
            "train_list",
        )
    trained = trained or (True,) * len(segments)
    common = _common(where, row, image, boxes_in)
    return SftRow(**common, segments=segments, trained=trained, num_crops=len(crops))


def rl_row(
    where: str,
    row: Mapping,
    image: images.ImageSource,
    boxes_in: frames.PixelBounds = VLIR_BOUNDS,
) -> RlRow:
    """The values of an RL row, checked; otherwise as `sft_row`."""
    answer, source = (_field(row, name, str, where) for name in ("answer", "source"))
    if not answer.strip():
        raise RowError(
            f"{where}: expected the right answer as 'answer', found {answer!r}; give it one or "
            "leave the row out",
            "no answer",
        )
    return RlRow(**_common(where, row, image, boxes_in), answer=answer, source=source)


def _common(
    where: str, row: Mapping, image: images.ImageSource, boxes_in: frames.PixelBounds
) -> dict:
    """The fields that both kinds of rows share, checked."""
    tags = _field(row, "tags", dict, where) if "tags" in row else {}
    for name, tag in tags.items():
        if not isinstance(tag, str):
            raise RowError(
                f"{where}: expected text as tag {name!r}, found {_kind(tag)}", "wrong type"
            )
    name, number = where.rsplit(" ", 1)
    default_id = f"{pathlib.Path(name.rsplit(',', 1)[0]).stem}-{number}"
    return {
        "where": where,
        "id": _field(row, "id", str, where) if "id" in row else default_id,
        "image": image,
        "question": _field(row, "question", str, where),
        "tags": tags,
        "boxes_in": boxes_in,
    }


def _field(row: Mapping, name: str, kind: type, where: str):
    if name not in row:
        raise RowError(
            f"{where}: '{name}' is missing; the row has {', '.join(row) or 'nothing'}",
            "missing field",
        )
    if not isinstance(row[name], kind):
        raise RowError(
            f"{where}: expected {_WORDS[kind]} as '{name}', found {_kind(row[name])}", "wrong type"
        )
    return row[name]


def _list_of(kind: type, row: Mapping, name: str, where: str) -> list:
    values = _field(row, name, list, where)
    for place, value in enumerate(values):
        if not isinstance(value, kind):
            raise RowError(
                f"{where}: expected {_WORDS[kind]} as '{name}'[{place}], found {_kind(value)}",
                "wrong type",
            )
    return values


_WORDS = {str: "text", bool: "true or false", list: "a list", dict: "an object"}


def _kind(value: object) -> str:
    """What a JSON value is, in words, with the value where it is short."""
    if isinstance(value, str | list | dict):
        return _WORDS[type(value)]
    return json.dumps(value)
