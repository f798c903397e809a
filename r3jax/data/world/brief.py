"""What a family of the world is told to draw."""

import dataclasses

import numpy as np

from r3jax.data.world import faces, smallprint


@dataclasses.dataclass(frozen=True)
class Brief:
    """The choices that are made before a family draws: the same for all families.

    `held_out` asks for a layout of the test split; `small` for numbers from 1 to 9 instead of 10
    to 99; `clutter` for grey strokes in free cells. `digit_height` is in raw pixels; `print` says
    how the numbers are set.
    """

    face: faces.Face
    digit_height: int
    print: smallprint.PrintStyle
    held_out: bool
    small: bool
    clutter: bool


def draw_numbers(rng: np.random.Generator, count: int, small: bool) -> list[int]:
    """Distinct numbers for the places of one image."""
    low, high = (1, 10) if small else (10, 100)
    return [int(n) for n in rng.choice(np.arange(low, high), size=count, replace=False)]
