"""What sources know of where things are in an image: words with boxes, objects with boxes.

Read where a row has it, in the form that its publisher gave it:

    ocr_info   TextVQA's OCR: [{"word", "bounding_box": {"top_left_x", "top_left_y", "width",
               "height"}}], shares of the image's sides
    ocr        InfographicsVQA's: the JSON of Amazon Textract; DocVQA's: recognitionResults with
               lines of {"text", "boundingBox": eight numbers in pixels}
    objects    GQA's scene graph: {"id": {"name", "x", "y", "w", "h"}} in pixels

or where a file beside the rows has it by the image's name (`read_file`).
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from r3jax.curate.samples import Hint
from r3jax.records import Box

MOST = 60  # hints of an image; a page of print has thousands of words
HAIR = 0.01  # of a side, by which a box may reach out of the image: programs round
_ODD = (  # what comes of a value in another form than its publisher's
    KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError,
)  # fmt: skip


def find(values: Mapping[str, Any], height: int, width: int) -> tuple[Hint, ...]:
    """The hints of a row about an image of this size, at most `MOST`; each that cannot be read or
    lies outside the image is left out: they are hints."""
    found = []
    for column, items, read in _FORMS:
        several = []
        with contextlib.suppress(*_ODD):
            several = list(items(_decoded(values.get(column)) or {}))
        for one in several:
            with contextlib.suppress(*_ODD):
                found.append(_hint(*read(one, height, width), height, width))
    return tuple(found[:MOST])


def _hint(text: Any, box: Box, height: int, width: int) -> Hint:
    """A hint, its box within the image. Raises: ValueError for none, or a box outside."""
    x1, y1, x2, y2 = map(float, box)
    is_inside = min(x1 / width, y1 / height) >= -HAIR and max(x2 / width, y2 / height) <= 1 + HAIR
    sides = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    x1, y1, x2, y2 = (round(side, 1) for side in sides)
    if not (is_inside and x1 < x2 and y1 < y2 and str(text).strip()):
        raise ValueError(f"no hint: {text!r} at {box}")
    return Hint(str(text).strip(), (x1, y1, x2, y2))


def read_file(path: pathlib.Path) -> dict[str, Mapping[str, Any]]:
    """Columns by image, of GQA's scene graphs ({image: {"objects"}}) or TextVQA's OCR ({"data":
    [{"image_id", "ocr_info"}]}). Raises: ValueError for another file."""
    try:
        values = json.loads(path.read_text("utf-8-sig"))
        if isinstance(values.get("data"), list):
            return {str(one["image_id"]): {"ocr_info": one["ocr_info"]} for one in values["data"]}
        return {image: {"objects": one["objects"]} for image, one in values.items()}
    except _ODD as error:
        raise ValueError(
            f"{path}: expected scene graphs of GQA or the OCR file of TextVQA ({error!r})"
        ) from error


def image_of(values: Mapping[str, Any]) -> str:
    """What such a file calls the image of a row."""
    return str(values.get("imageId", values.get("image_id", "")))


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _word(one: Mapping, height: int, width: int) -> tuple[str, Box]:
    box = one["bounding_box"]
    x, y = box["top_left_x"] * width, box["top_left_y"] * height
    return one["word"], (x, y, x + box["width"] * width, y + box["height"] * height)


def _textract_line(one: Mapping, height: int, width: int) -> tuple[str, Box]:
    box = one["Geometry"]["BoundingBox"]
    x, y = box["Left"] * width, box["Top"] * height
    return one["Text"], (x, y, x + box["Width"] * width, y + box["Height"] * height)


def _lines_of_pages(value: Mapping) -> Iterator[tuple[Mapping, Mapping]]:
    for page in value.get("recognitionResults", ()):
        lines = page.get("lines") if isinstance(page, dict) else None
        yield from ((page, line) for line in (lines if isinstance(lines, list) else ()))


def _page_line(one: tuple[Mapping, Mapping], height: int, width: int) -> tuple[str, Box]:
    page, line = one
    across, down = width / page.get("width", width), height / page.get("height", height)
    xs = [x * across for x in line["boundingBox"][0::2]]
    ys = [y * down for y in line["boundingBox"][1::2]]
    return line["text"], (min(xs), min(ys), max(xs), max(ys))


def _thing(one: Mapping, height: int, width: int) -> tuple[str, Box]:
    x, y = one["x"], one["y"]
    return one["name"], (x, y, x + one["w"], y + one["h"])


_FORMS = (
    ("ocr_info", iter, _word),
    ("ocr", lambda value: value.get("LINE", ()), _textract_line),
    ("ocr", _lines_of_pages, _page_line),
    ("objects", lambda value: value.values(), _thing),
)
"""Columns, what their values have one by one, and how one of these is read."""
