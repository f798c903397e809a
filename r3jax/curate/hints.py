"""What sources know of where things are in an image: words with boxes, objects with boxes.

Read where a row has it, in the form that its publisher gave it:

    ocr_info   TextVQA's OCR: [{"word", "bounding_box": {"top_left_x", "top_left_y", "width",
               "height"}}], shares of the image's sides
    ocr        InfographicsVQA's: the JSON of Amazon Textract; DocVQA's: recognitionResults with
               lines of {"text", "boundingBox": eight numbers in pixels}
    objects    GQA's scene graph: {"id": {"name", "x", "y", "w", "h"}} in pixels

or where a file beside the rows has it by the image's name (`read_file`).
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from r3jax.curate.samples import Hint
from r3jax.records import Box

MOST = 60  # hints of an image; a page of print has thousands of words


def find(values: Mapping[str, Any], height: int, width: int) -> tuple[Hint, ...]:
    """The hints of a row about an image of this size, at most `MOST`; those that cannot be read or
    lie outside the image are left out: they are hints."""
    found = []
    for column, read in _READERS.items():
        try:
            for text, box in read(_decoded(values.get(column)), height, width):
                x1, y1, x2, y2 = (round(float(side), 1) for side in box)
                if str(text).strip() and 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
                    found.append(Hint(str(text).strip(), (x1, y1, x2, y2)))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            continue  # written in another form than its publisher's
    return tuple(found[:MOST])


def read_file(path: pathlib.Path) -> dict[str, Mapping[str, Any]]:
    """Columns by image, of GQA's scene graphs ({image: {"objects"}}) or TextVQA's OCR ({"data":
    [{"image_id", "ocr_info"}]}). Raises: ValueError for another file."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if isinstance(values.get("data"), list):
            return {one["image_id"]: {"ocr_info": one["ocr_info"]} for one in values["data"]}
        return {image: {"objects": one["objects"]} for image, one in values.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected scene graphs of GQA or the OCR file of TextVQA ({error!r})"
        ) from error


def image_of(values: Mapping[str, Any]) -> str:
    """What such a file calls the image of a row."""
    return str(values.get("imageId", values.get("image_id", "")))


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _textvqa(value: Any, height: int, width: int) -> Iterator[tuple[str, Box]]:
    for one in value or ():
        box = one["bounding_box"]
        x, y = box["top_left_x"] * width, box["top_left_y"] * height
        yield one["word"], (x, y, x + box["width"] * width, y + box["height"] * height)


def _documents(value: Any, height: int, width: int) -> Iterator[tuple[str, Box]]:
    value = value or {}
    for one in value.get("LINE", ()):
        box = one["Geometry"]["BoundingBox"]
        x, y = box["Left"] * width, box["Top"] * height
        yield one["Text"], (x, y, x + box["Width"] * width, y + box["Height"] * height)
    for page in value.get("recognitionResults", ()):
        across, down = width / page.get("width", width), height / page.get("height", height)
        for line in page["lines"]:
            xs = [x * across for x in line["boundingBox"][0::2]]
            ys = [y * down for y in line["boundingBox"][1::2]]
            yield line["text"], (min(xs), min(ys), max(xs), max(ys))


def _gqa(value: Any, height: int, width: int) -> Iterator[tuple[str, Box]]:
    for one in (value or {}).values():
        x, y = one["x"], one["y"]
        yield one["name"], (x, y, x + one["w"], y + one["h"])


_READERS = {"ocr_info": _textvqa, "ocr": _documents, "objects": _gqa}
