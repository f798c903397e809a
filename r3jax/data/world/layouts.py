"""Where places stand: image sizes, lattices, and which arrangements are held out.

A layout is the family, the lattice and the cells of the places, written as one line, for example
`scene 3x4 1,2 2,4 3,1`. It belongs to the test split when the CRC-32 of that line is divisible by
four, and to training and validation otherwise: no arrangement of the test split is ever seen in
training.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from r3jax.data.world.places import CELL, Cell

SIZES = ((336, 336), (336, 252), (252, 336))  # width, height in raw pixels
HELD_OUT_OF = 4


def describe(family: str, rows: int, columns: int, cells: Sequence[Cell]) -> str:
    """The layout as one line.

    >>> describe("scene", 3, 4, [(1, 2), (3, 1)])
    'scene 3x4 1,2 3,1'
    """
    return " ".join([family, f"{rows}x{columns}", *(f"{r},{c}" for r, c in sorted(cells))])


def is_held_out(layout: str) -> bool:
    """Whether a layout belongs to the test split."""
    return zlib.crc32(layout.encode()) % HELD_OUT_OF == 0


def draw_layout(
    rng: np.random.Generator,
    family: str,
    held_out: bool,
    arrange: Callable[[np.random.Generator, int, int], list[Cell]],
) -> tuple[int, int, list[Cell], str]:
    """Rows, columns, cells in raster order and the layout's line, of the side that is asked for.

    `arrange(rng, rows, columns)` proposes cells; proposals of the other side are thrown away.
    """
    while True:
        width, height = SIZES[rng.integers(len(SIZES))]
        rows, columns = height // CELL, width // CELL
        cells = sorted(arrange(rng, rows, columns))
        layout = describe(family, rows, columns, cells)
        if is_held_out(layout) == held_out:
            return rows, columns, cells, layout


def scattered(rng: np.random.Generator, rows: int, columns: int) -> list[Cell]:
    """Three to six cells anywhere."""
    count = rng.integers(3, 7)
    picked = rng.choice(rows * columns, size=count, replace=False)
    return [(int(p) // columns + 1, int(p) % columns + 1) for p in picked]


def bars(rng: np.random.Generator, rows: int, columns: int) -> list[Cell]:
    """Cells of the tops of three or four bars, one a column; the tallest and shortest are alone."""
    while True:
        count = int(rng.integers(3, columns + 1))
        picked = sorted(rng.choice(columns, size=count, replace=False))
        tops = rng.integers(1, rows + 1, size=count)
        if (tops == tops.min()).sum() == 1 and (tops == tops.max()).sum() == 1:
            return [(int(top), int(column) + 1) for top, column in zip(tops, picked)]


def lines(rng: np.random.Generator, rows: int, columns: int) -> list[Cell]:
    """One cell in each of three or four lines of text, right of the first column."""
    count = int(rng.integers(3, rows + 1))
    picked = rng.choice(rows, size=count, replace=False)
    return [(int(row) + 1, int(rng.integers(2, columns + 1))) for row in picked]
