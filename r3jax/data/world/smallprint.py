"""Small print: how a number is set on its plate, so that it can be read only from close by.

Plain print of 10 pixels is illegible to a person once the image is reduced to a third, but not to
a network that is trained for it. Three things widen the gap between the reduced image and a look:
`relief` sets light rims around dark strokes, so that strokes average to the grey of the plate;
`stain` adds blotches as wide as what is left of them; a smaller gold box is enlarged more.
"""

import dataclasses
import functools

import numpy as np

from r3jax.data.world import faces
from r3jax.data.world.places import CELL, Cell, jittered_centre
from r3jax.records import Box

_RIM = 3  # pixels around the text for its rims
_PLAIN = (246.0, 220.0)  # grey of the plate, and how much darker ink is
_RELIEF = (180.0, 300.0)


@dataclasses.dataclass(frozen=True)
class PrintStyle:
    """The size and the hand of small print; lengths in raw pixels, three to one in the prompt.

    `heights` are the lowest and highest height of a digit. Print stands up to `jitter` from the
    middle of its cell, steadier than what is drawn around it: a tiny model learns to read at few
    places of a crop, and where to look is the hard part here. `stain` is the standard deviation
    of the blotches in grey levels. The gold box is `gold_side` wide: the whole cell (84), or the
    half of it around the print (42).
    """

    heights: tuple[int, int] = (8, 8)
    jitter: int = 1
    relief: bool = True
    stain: float = 12.0
    gold_side: int = CELL // 2

    def __post_init__(self):
        low, high = self.heights
        if not 5 <= low <= high <= 12:
            raise ValueError(f"heights must be (low, high) within 5..12, got {self.heights}")
        if not 0 <= self.jitter <= 6:
            raise ValueError(f"jitter must lie in 0..6, got {self.jitter}")
        if self.stain < 0:
            raise ValueError(f"stain must not be negative, got {self.stain}")
        if self.gold_side not in (CELL, CELL // 2):
            raise ValueError(f"gold_side must be {CELL} or {CELL // 2}, got {self.gold_side}")


def gold_box(cell: Cell, style: PrintStyle, below: int = 0) -> Box:
    """The gold box of a cell; print that stands `below` the middle moves a half-cell box down.

    >>> gold_box((1, 2), PrintStyle(gold_side=84)), gold_box((1, 2), PrintStyle(gold_side=42))
    ((84, 0, 168, 84), (105, 21, 147, 63))
    """
    inset = (CELL - style.gold_side) // 2
    left, top = (cell[1] - 1) * CELL + inset, (cell[0] - 1) * CELL + inset + min(below, inset)
    return (left, top, left + style.gold_side, top + style.gold_side)


def print_centre(rng: np.random.Generator, cell: Cell, style: PrintStyle) -> tuple[int, int]:
    """Where the small print of a cell stands (x, y)."""
    return jittered_centre(rng, *cell, style.jitter)


def draw_plate(
    rng: np.random.Generator, number: int, face: faces.Face, height: int, style: PrintStyle
) -> np.ndarray:
    """A plate with a number, float32 [height, width] in grey levels."""
    ink = _ink(str(number), face, height, style.relief)
    base, strength = _RELIEF if style.relief else _PLAIN
    plate = base - strength * ink
    if style.stain:
        plate = plate + style.stain * _blotches(rng, *ink.shape)
    return plate


@functools.lru_cache(maxsize=4096)
def _ink(text: str, face: faces.Face, height: int, relief: bool) -> np.ndarray:
    """Coverage of a text with its margin; in relief, less its own blur. float32 [h, w]."""
    text_mask = faces.text_mask(text, face, height)
    beside = _RIM + 1 + max(0, height - text_mask.shape[1]) // 2  # a lone 1 gets no thin plate
    mask = np.pad(text_mask, ((_RIM, _RIM), (beside, beside)))
    if relief:
        mask = mask - _blur(np.pad(mask, _kernel(1.0).size // 2), 1.0)
    mask.setflags(write=False)
    return mask


def _blotches(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise of standard deviation 1, float32 [height, width]."""
    kernel = _kernel(1.5)
    more = kernel.size - 1
    noise = rng.standard_normal((height + more, width + more), np.float32)
    return _blur(noise, 1.5) / (kernel**2).sum()


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, less the border that the kernel does not cover."""
    kernel = _kernel(sigma)
    for _ in range(2):
        count = image.shape[0] - kernel.size + 1
        rows = [image[start : start + count] * weight for start, weight in enumerate(kernel)]
        image = np.sum(rows, axis=0, dtype=np.float32).T
    return image


@functools.cache
def _kernel(sigma: float) -> np.ndarray:
    """A Gaussian of sum 1, float32, cut at three standard deviations."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return (weights / weights.sum()).astype(np.float32)
