"""What the look-again world is made of: places on a lattice, pictures that hold them, samples.

A raw image is three times the size of what the model is shown: 336x336 pixels become 112x112.
Places sit on a lattice of square cells, 84 raw pixels wide, which is one merged image token of
the resized image. Rows and columns are counted from 1, as the questions count them.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from r3jax.records import Box

CELL = 84  # raw pixels; 28 in the prompt, one merged token

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "yellow": (250, 220, 40),
    "green": (30, 150, 60),
    "cyan": (50, 205, 225),
    "blue": (40, 70, 225),
    "purple": (130, 40, 180),
    "pink": (255, 130, 205),
    "black": (35, 35, 35),
}
LETTERS = tuple("ABCDEFGH")

Cell = tuple[int, int]
"""Row and column of the lattice, counted from 1."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One place that carries a small number, and every way in which a question may name it.

    `cell_box`, `gold_box` (what to look at; the cell or a part of it) and `plate_box` (the plate
    with the number) are original pixels. `words` maps a kind of name to the name: {"colour": "the
    red one", ...}; only names that no other place of the image answers to are in it. `title`
    names it in captions.
    """

    cell_box: Box
    gold_box: Box
    plate_box: Box
    row: int
    column: int
    number: int
    title: str
    words: Mapping[str, str]
    colour: str | None = None
    shape: str | None = None
    letter: str | None = None


@dataclasses.dataclass(frozen=True)
class Mark:
    """What can be seen in one cell of the lattice at the prompt's resolution."""

    row: int
    column: int
    colour: str | None = None
    shape: str | None = None
    letter: str | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn image, uint8 [height, width, 3], with its places in raster order and its marks."""

    family: str
    image: np.ndarray
    places: tuple[Place, ...]
    marks: tuple[Mark, ...]
    face: str
    layout: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """A question about a picture, its answer and a teacher's way to it.

    `targets` are the indices of the places that must be looked at, in order; `boxes_original`
    their gold boxes. `rationale` is the teacher's text, cut after each box: one segment more than
    there are targets. Boxes in it are pixels of the original image. `tags` has "looks" ("one" or
    "two"), "kind", "face" and "size".
    """

    id: str
    split: str
    family: str
    image: np.ndarray
    places: tuple[Place, ...]
    marks: tuple[Mark, ...]
    question: str
    answer: str
    targets: tuple[int, ...]
    rationale: tuple[str, ...]
    boxes_original: tuple[Box, ...]
    tags: Mapping[str, str]


def cell_box(row: int, column: int) -> Box:
    """The box of a cell in original pixels; row and column count from 1.

    >>> cell_box(1, 2)
    (84, 0, 168, 84)
    """
    return ((column - 1) * CELL, (row - 1) * CELL, column * CELL, row * CELL)


def lattice_of(image: np.ndarray) -> tuple[int, int]:
    """Rows and columns of the lattice of an image [height, width, 3]."""
    return image.shape[0] // CELL, image.shape[1] // CELL


def jittered_centre(
    rng: np.random.Generator, row: int, column: int, jitter: int = 8
) -> tuple[int, int]:
    """A point (x, y) up to `jitter` raw pixels each way from the middle of a cell."""
    dx, dy = (int(v) for v in rng.integers(-jitter, jitter + 1, size=2))
    return (column - 1) * CELL + CELL // 2 + dx, (row - 1) * CELL + CELL // 2 + dy
