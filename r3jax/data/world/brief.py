"""What a family of the world is told to draw."""

import dataclasses

import numpy as np

from r3jax.data.world import canvas, faces, places
from r3jax.data.world.layouts import Cell

_GREYS = (150, 190)


@dataclasses.dataclass(frozen=True)
class Brief:
    """The choices that are made before a family draws: the same for all families.

    `held_out` asks for a layout of the test split; `small` for numbers from 1 to 9 instead of 10
    to 99; `clutter` for grey strokes in free cells. `digit_height` is in raw pixels.
    """

    face: faces.Face
    digit_height: int
    held_out: bool
    small: bool
    clutter: bool


def draw_numbers(rng: np.random.Generator, count: int, small: bool) -> list[int]:
    """Distinct numbers for the places of one image."""
    low, high = (1, 10) if small else (10, 100)
    return [int(n) for n in rng.choice(np.arange(low, high), size=count, replace=False)]


def draw_clutter(
    rng: np.random.Generator, image: np.ndarray, taken: list[Cell], brief: Brief
) -> None:
    """Grey bars in up to two free cells, in place: something to see that answers nothing."""
    rows, columns = places.lattice_of(image)
    free = [
        (row, column)
        for row in range(1, rows + 1)
        for column in range(1, columns + 1)
        if (row, column) not in taken
    ]
    if not brief.clutter or not free:
        return
    for index in rng.permutation(len(free))[:2]:
        x, y = places.jittered_centre(rng, *free[index])
        grey = rng.integers(*_GREYS)
        for step in (-14, 0, 14):
            half = int(rng.integers(8, 28))
            canvas.fill_box(image, (x - half, y + step - 3, x + half, y + step + 3), grey)
