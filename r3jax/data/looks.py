"""From the box that a model wrote to the crop it gets to see, or to the reason why not.

Nothing a model can write makes these functions raise: every request ends in a `LookOutcome`.

    >>> parse_box('the sign is here {"bbox_2d": [10, 20, 110, 90]}').box
    (10.0, 20.0, 110.0, 90.0)
    >>> parse_box('{"bbox_2d": [10, 20]}').outcome
    <LookOutcome.WRONG_ARITY: 'wrong_arity'>
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence

import numpy as np

from r3jax.data import frames, images
from r3jax.records import Box, Look, LookOutcome, Region

BOX_KEY = "bbox_2d"
# A box object is some 40 characters; what is longer is no request, and reading stays bounded.
MAX_OBJECT_CHARS = 400
GREY = 127  # what a blanked crop shows


@dataclasses.dataclass(frozen=True)
class LookRules:
    """What counts as an acceptable request for a closer view.

    `crop` bounds the pixels of the enlarged crop. A request is refused when `max_looks` were made
    before it, when a side is under `min_side` pixels of the resized image, when the crop is
    over `max_aspect` times as long as wide, or when its IoU with a view already given is
    over `duplicate_iou`. A box may reach `tolerance` pixels out of the resized image (default: one
    image token) and is clamped.
    """

    crop: frames.PixelBounds
    max_looks: int = 8
    min_side: float = 4.0
    max_aspect: float = 20.0
    tolerance: float = 28.0
    duplicate_iou: float = 0.99

    def __post_init__(self) -> None:
        if self.max_looks < 0 or self.min_side <= 0 or self.tolerance < 0:
            raise ValueError(
                "look rules need max_looks >= 0, min_side > 0 and tolerance >= 0, came "
                f"{self.max_looks}, {self.min_side}, {self.tolerance}"
            )
        if not 1 <= self.max_aspect <= frames.MAX_ASPECT:
            raise ValueError(
                f"look rules need max_aspect in 1..{frames.MAX_ASPECT}, came {self.max_aspect}"
            )


LookTaker = Callable[[str, np.ndarray, frames.Frame, Sequence[Look], LookRules], Look]
"""What answers a box: from text, image, frame, earlier looks and rules to a look."""


@dataclasses.dataclass(frozen=True)
class ParsedBox:
    """The last box object of a text: as written, its numbers if it has four, and the outcome.

    `end` is the index just behind the object, -1 where none parsed.
    """

    text: str
    box: Box | None
    outcome: LookOutcome
    end: int = -1


def parse_box(text: str) -> ParsedBox:
    """Read the last `{"bbox_2d": [x1, y1, x2, y2]}` of a text; more keys beside it are fine.

    Only the last mention of the key counts: where it is broken, an earlier box is not taken for it.
    """
    mention = text.rfind(f'"{BOX_KEY}"')
    written, value, end = "", None, -1
    if mention >= 0:
        written, value, end = _object_around(text, mention)
    if end < 0:
        return ParsedBox(text[max(mention, 0) :][-MAX_OBJECT_CHARS:], None, LookOutcome.UNPARSABLE)
    if not isinstance(value, list):
        return ParsedBox(written, None, LookOutcome.NOT_NUMBERS, end)
    if len(value) != 4:
        return ParsedBox(written, None, LookOutcome.WRONG_ARITY, end)
    numbers = [_as_number(item) for item in value]
    if not all(math.isfinite(number) for number in numbers):
        return ParsedBox(written, None, LookOutcome.NOT_NUMBERS, end)
    x1, y1, x2, y2 = numbers
    return ParsedBox(written, (x1, y1, x2, y2), LookOutcome.OK, end)


def _object_around(text: str, mention: int) -> tuple[str, object, int]:
    """The JSON object whose own key stands at `mention`: its text, the key's value, its end or -1.

    Tries each `{` before the key, the nearest first.
    """
    first = max(0, mention - MAX_OBJECT_CHARS)
    window = text[first : mention + MAX_OBJECT_CHARS]
    start = window.rfind("{", 0, mention - first)
    while start >= 0:
        try:
            found, end = _DECODER.raw_decode(window, start)
        except (ValueError, RecursionError):  # ValueError: no JSON, or an integer of 4,300 digits
            found, end = None, -1
        if isinstance(found, dict) and BOX_KEY in found and end > mention - first:
            return window[start:end], found[BOX_KEY], first + end
        start = window.rfind("{", 0, start)
    return "", None, -1


_DECODER = json.JSONDecoder()


def _as_number(item: object) -> float:
    """The item as a float; NaN where it is no number (a bool is none) or too large for one."""
    if isinstance(item, bool) or not isinstance(item, int | float):
        return math.nan
    try:
        return float(item)
    except OverflowError:
        return math.nan


def take_look(
    text: str, image: np.ndarray, frame: frames.Frame, earlier: Sequence[Look], rules: LookRules
) -> Look:
    """Serve the last box of `text`: a region of the original `image`, or the reason for none.

    `text` is what the model wrote, the whole episode or its part since the last look; `image` is
    uint8 [frame.original_height, frame.original_width, 3]; `earlier` are all requests so far.
    """
    parsed = parse_box(text)
    if len(earlier) >= rules.max_looks:
        return Look(parsed.text, LookOutcome.TOO_MANY, parsed.box)
    if parsed.box is None:
        return Look(parsed.text, parsed.outcome)
    outcome = check_box(parsed.box, frame, earlier, rules)
    if outcome is not LookOutcome.OK:
        return Look(parsed.text, outcome, parsed.box)
    box_resized = clamp(parsed.box, frame)
    box_original = frame.to_original(box_resized)
    plan = frames.plan_crop(frame, box_original, rules.crop)
    region = Region(0, plan.box, plan.height, plan.width)
    cut = functools.partial(images.cut_crop, image, region)
    return Look(parsed.text, LookOutcome.OK, box_resized, box_original, plan.zoom, region, cut)


def blank_look(
    text: str, image: np.ndarray, frame: frames.Frame, earlier: Sequence[Look], rules: LookRules
) -> Look:
    """As `take_look`, but the crop is plain grey: what a model answers that cannot see."""
    look = take_look(text, image, frame, earlier, rules)
    if look.region is None:
        return look
    size = look.region.height, look.region.width, 3
    grey = functools.partial(np.full, size, GREY, np.uint8)
    return dataclasses.replace(look, region=None, cut=grey)


def without_image(text: str, earlier: Sequence[Look], rules: LookRules) -> Look:
    """What becomes of a box where a question has no image."""
    parsed = parse_box(text)
    too_many = len(earlier) >= rules.max_looks
    outcome = LookOutcome.TOO_MANY if too_many else LookOutcome.NO_IMAGE
    return Look(parsed.text, outcome, parsed.box)


def check_box(
    box_resized: Box, frame: frames.Frame, earlier: Sequence[Look], rules: LookRules
) -> LookOutcome:
    """Judge four finite numbers as a box of the resized image; OK promises that a crop exists."""
    x1, y1, x2, y2 = box_resized
    if x1 >= x2 or y1 >= y2:
        return LookOutcome.SWAPPED
    if _reaches_outside(box_resized, frame, rules.tolerance):
        return LookOutcome.OUTSIDE
    inside = clamp(box_resized, frame)
    if min(inside[2] - inside[0], inside[3] - inside[1]) < rules.min_side:
        return LookOutcome.TOO_SMALL
    if _is_too_thin(inside, frame, rules):
        return LookOutcome.TOO_THIN
    for look in earlier:
        if look.outcome is LookOutcome.OK and iou(inside, look.box_resized) > rules.duplicate_iou:
            return LookOutcome.DUPLICATE
    return LookOutcome.OK


def clamp(box_resized: Box, frame: frames.Frame) -> Box:
    """The part of a box that lies in the resized image."""
    x1, y1, x2, y2 = box_resized
    width, height = float(frame.resized_width), float(frame.resized_height)
    return (max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height))


def _reaches_outside(box_resized: Box, frame: frames.Frame, tolerance: float) -> bool:
    x1, y1, x2, y2 = box_resized
    width, height = frame.resized_width, frame.resized_height
    no_overlap = x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0
    too_far = min(x1, y1) < -tolerance or x2 > width + tolerance or y2 > height + tolerance
    return no_overlap or too_far


def _is_too_thin(box_resized: Box, frame: frames.Frame, rules: LookRules) -> bool:
    """Whether the crop is over the aspect allowed, or so thin that it breaks the pixel bound."""
    x1, y1, x2, y2 = frame.to_original(box_resized)
    width, height = x2 - x1, y2 - y1
    if max(width, height) > rules.max_aspect * min(width, height):
        return True
    try:
        plan = frames.plan_crop(frame, (x1, y1, x2, y2), rules.crop)
    except ValueError:  # whole pixels can be thinner than the box: 1 x 201 from 0.6 x 200.2
        return True
    return plan.height * plan.width > rules.crop.max_pixels


def iou(first: Box, second: Box) -> float:
    """Area shared by two boxes over the area of both together, 0 to 1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (first, second)]
    return shared / (sum(areas) - shared)


_MESSAGES = {
    LookOutcome.UNPARSABLE: "the box could not be read",
    LookOutcome.WRONG_ARITY: "a box needs four numbers",
    LookOutcome.NOT_NUMBERS: "a box needs four numbers",
    LookOutcome.SWAPPED: "a box needs x1 < x2 and y1 < y2",
    LookOutcome.OUTSIDE: "the box is outside the image",
    LookOutcome.TOO_SMALL: "the box is too small",
    LookOutcome.TOO_THIN: "the box is too thin",
    LookOutcome.DUPLICATE: "this region was shown before",
    LookOutcome.NO_IMAGE: "there is no image",
    LookOutcome.TOO_MANY: "no looks are left, answer now",
}


def message(outcome: LookOutcome) -> str:
    """What the episode says where a crop would have been; never trained on.

    >>> message(LookOutcome.OUTSIDE)
    ' (No view: the box is outside the image.) '
    """
    if outcome is LookOutcome.OK:
        raise ValueError("a look that succeeded has a crop and no message: insert the crop instead")
    return f" (No view: {_MESSAGES[outcome]}.) "
