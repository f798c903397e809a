"""The teacher's mistakes: traces whose boxes are off or too loose, as in machine-written data.

Only SFT traces are touched; gold boxes never are.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from r3jax.data.world.places import CELL, Sample
from r3jax.data.world.questions import box_text
from r3jax.records import Box


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """How often a trace is wrong, and in which way.

    In `off_share` of the traces each box is shifted on a lattice of `step` raw pixels. The shift is
    drawn evenly from all that leave the box in the image, up to `max_shift` cells along each axis,
    no shift at all excluded.

    Before that, `loose_share` of the looks of `loose_families` get a box of two by two cells around
    the place, as boxes of whole objects are: what is in it is shown no larger than the prompt shows
    it. Such a trace is wrong enough, its other boxes are not shifted.
    """

    off_share: float = 0.5
    max_shift: float = 1.5
    step: int = 21  # raw pixels; 7 in the prompt
    loose_families: tuple[str, ...] = ()
    loose_share: float = 0.0

    def __post_init__(self):
        for name in ("off_share", "loose_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if self.step < 1 or self.max_shift * CELL < self.step:
            raise ValueError(
                f"max_shift ({self.max_shift} cells of {CELL} pixels) must hold at least one step "
                f"of {self.step} pixels"
            )


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A trace for SFT: its text, the boxes in it (original pixels), which segments are trained.

    A segment that follows a box which misses its small print, or shows it too small, is not:
    nobody could read the number from that crop.
    """

    segments: tuple[str, ...]
    boxes_original: tuple[Box, ...]
    trained: tuple[bool, ...]


def teach(rng: np.random.Generator, sample: Sample, noise: NoiseConfig) -> Lesson:
    """The teacher's trace of a sample, its boxes as wrong as `noise` says."""
    may_be_loose = sample.family in noise.loose_families
    loose = [may_be_loose and rng.random() < noise.loose_share for _ in sample.targets]
    off = not any(loose) and rng.random() < noise.off_share
    height, width = sample.image.shape[:2]
    segments, boxes, trained = list(sample.rationale), [], [True]
    for index, target in enumerate(sample.targets):
        place = sample.places[target]
        box = gold = place.gold_box
        if loose[index]:
            box = loosen(gold, height, width)
        elif off:
            box = shift_box(rng, gold, height, width, noise, boxes)
        segments[index] = segments[index].removesuffix(box_text(gold)) + box_text(box)
        boxes.append(box)
        trained.append(not loose[index] and contains(box, place.plate_box))
    return Lesson(tuple(segments), tuple(boxes), tuple(trained))


def loosen(box: Box, height: int, width: int) -> Box:
    """Two by two cells around the middle of a box, moved into an image of height x width."""
    side = 2 * CELL
    left = min(max(int(box[0] + box[2] - side) // 2, 0), width - side)
    top = min(max(int(box[1] + box[3] - side) // 2, 0), height - side)
    return (left, top, left + side, top + side)


def shift_box(
    rng: np.random.Generator,
    box: Box,
    height: int,
    width: int,
    noise: NoiseConfig,
    earlier: Sequence[Box] = (),
) -> Box:
    """A box of the same size elsewhere in an image of height x width, none of the earlier ones."""
    reach = int(noise.max_shift * CELL // noise.step)
    steps = range(-reach * noise.step, reach * noise.step + 1, noise.step)
    x1, y1, x2, y2 = box
    shifted = [(x1 + dx, y1 + dy, x2 + dx, y2 + dy) for dx in steps for dy in steps]
    image = (0, 0, width, height)
    possible = [new for new in shifted if contains(image, new) and new not in (box, *earlier)]
    return possible[rng.integers(len(possible))]


def contains(outer: Box, inner: Box) -> bool:
    """Whether all of `inner` lies in `outer`."""
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )
