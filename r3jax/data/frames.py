"""The one coordinate contract: which size an image is shown at, and where a box lies in each.

A model reads an image that was resized to sides divisible by 28 and writes boxes in pixels of that
resized image; crops are cut from the original. `Frame` holds both sizes and is the only code that
converts boxes between them.

    >>> frame = Frame.fit(1000, 2000, PixelBounds(4 * 784, 128 * 784))
    >>> (frame.resized_height, frame.resized_width)
    (224, 448)
    >>> frame.to_original((0.0, 0.0, 224.0, 112.0))
    (0.0, 0.0, 1000.0, 500.0)
"""

import dataclasses
import math
from typing import Self

from r3jax.patches import FACTOR
from r3jax.records import Box

MAX_ASPECT = 200  # Transformers refuses to resize anything longer and thinner than this
_SLACK = 1e-6  # pixels; a whole number that went there and back must not round to its neighbour


@dataclasses.dataclass(frozen=True)
class PixelBounds:
    """How few and how many pixels an image may have after `smart_resize`, both inclusive."""

    min_pixels: int
    max_pixels: int

    def __post_init__(self) -> None:
        if not 0 < self.min_pixels <= self.max_pixels or self.max_pixels < FACTOR * FACTOR:
            raise ValueError(
                f"pixel bounds must satisfy 0 < min_pixels <= max_pixels and max_pixels >= "
                f"{FACTOR * FACTOR} (one image token), came min_pixels={self.min_pixels}, "
                f"max_pixels={self.max_pixels}"
            )

    @classmethod
    def of_tokens(cls, fewest: int, most: int) -> Self:
        """The bounds counted in image tokens: one token covers 28 x 28 pixels."""
        return cls(fewest * FACTOR * FACTOR, most * FACTOR * FACTOR)


def smart_resize(height: int, width: int, bounds: PixelBounds) -> tuple[int, int]:
    """The size that Qwen2.5-VL shows an image at: multiples of 28, near the aspect, within bounds.

    Returns (height, width). Rounds half to even, as Python does: 42 -> 56, 70 -> 56. An image so
    thin that a side is held at 28 may end above `max_pixels`; `plan_crop` callers check for it.
    ValueError where a side is below 1 or the sides differ by more than 200 times.
    Source: Transformers, `Qwen2VLImageProcessor`, equal on every size tested.
    """
    if min(height, width) < 1:
        raise ValueError(f"an image needs sides of at least 1 pixel, came {height} x {width}")
    if max(height, width) / min(height, width) > MAX_ASPECT:
        raise ValueError(
            f"the sides of an image may differ by at most {MAX_ASPECT} times, came {height} x "
            f"{width} (height x width); crop it or leave it out"
        )
    new_height = round(height / FACTOR) * FACTOR
    new_width = round(width / FACTOR) * FACTOR
    if new_height * new_width > bounds.max_pixels:
        shrink = math.sqrt(height * width / bounds.max_pixels)
        new_height = max(FACTOR, math.floor(height / shrink / FACTOR) * FACTOR)
        new_width = max(FACTOR, math.floor(width / shrink / FACTOR) * FACTOR)
    elif new_height * new_width < bounds.min_pixels:
        grow = math.sqrt(bounds.min_pixels / (height * width))
        new_height = math.ceil(height * grow / FACTOR) * FACTOR
        new_width = math.ceil(width * grow / FACTOR) * FACTOR
    return new_height, new_width


@dataclasses.dataclass(frozen=True)
class Frame:
    """The two sizes of one image, in pixels: as it came and as the model sees it."""

    original_height: int
    original_width: int
    resized_height: int
    resized_width: int

    @classmethod
    def fit(cls, height: int, width: int, bounds: PixelBounds) -> Self:
        """The frame of an image of this original size under these bounds."""
        return cls(height, width, *smart_resize(height, width, bounds))

    @property
    def num_image_tokens(self) -> int:
        """How many tokens of the language model the resized image becomes."""
        return (self.resized_height // FACTOR) * (self.resized_width // FACTOR)

    def to_original(self, box_resized: Box) -> Box:
        """A box in pixels of the resized image, in pixels of the original."""
        x1, y1, x2, y2 = box_resized
        across = self.original_width / self.resized_width
        down = self.original_height / self.resized_height
        return (x1 * across, y1 * down, x2 * across, y2 * down)

    def to_resized(self, box_original: Box) -> Box:
        """A box in pixels of the original image, in pixels of the resized one."""
        x1, y1, x2, y2 = box_original
        across = self.resized_width / self.original_width
        down = self.resized_height / self.original_height
        return (x1 * across, y1 * down, x2 * across, y2 * down)


def zoom_of(relative_area: float) -> float:
    """How much a crop is enlarged, by its share of the image's area: from twice to not at all.

    >>> zoom_of(0.1), zoom_of(0.3125), zoom_of(0.7)
    (2.0, 1.5, 1.0)

    Source: published VLM-R3 code.
    """
    if relative_area < 0.125:
        return 2.0
    if relative_area >= 0.5:
        return 1.0
    return 2.0 - (relative_area - 0.125) / 0.375


@dataclasses.dataclass(frozen=True)
class CropPlan:
    """What to cut from the original and how large to show it.

    `box` is x1, y1, x2, y2 in whole pixels of the original, right and bottom exclusive; `height`
    and `width` are those of the enlarged crop, multiples of 28.
    """

    box: tuple[int, int, int, int]
    zoom: float
    height: int
    width: int


def plan_crop(frame: Frame, box_original: Box, crop_bounds: PixelBounds) -> CropPlan:
    """Round a box outwards to whole pixels inside the original, and choose the crop's size.

    ValueError where the box does not overlap the image or is too thin to resize.
    """
    x1 = max(0, math.floor(box_original[0] + _SLACK))
    y1 = max(0, math.floor(box_original[1] + _SLACK))
    x2 = min(frame.original_width, math.ceil(box_original[2] - _SLACK))
    y2 = min(frame.original_height, math.ceil(box_original[3] - _SLACK))
    if x1 >= x2 or y1 >= y2:
        raise ValueError(
            f"the box {box_original} must overlap the original image, which is "
            f"{frame.original_width} x {frame.original_height} pixels (width x height)"
        )
    area = (x2 - x1) * (y2 - y1)
    zoom = zoom_of(area / (frame.original_width * frame.original_height))
    height, width = smart_resize(round((y2 - y1) * zoom), round((x2 - x1) * zoom), crop_bounds)
    return CropPlan((x1, y1, x2, y2), zoom, height, width)
