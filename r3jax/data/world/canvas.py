"""Drawing on a float image: paper, filled masks and rectangles, plates with small print."""

import numpy as np

from r3jax.data.world import places, smallprint
from r3jax.data.world.brief import Brief
from r3jax.data.world.places import Cell
from r3jax.records import Box

INK = (25, 25, 35)
_CLUTTER = (150, 190)  # grey levels


def paper(rng: np.random.Generator, height: int, width: int, texture: float) -> np.ndarray:
    """A pale background, float32 [height, width, 3]; `texture` is the grey levels it varies by."""
    tint = rng.uniform(214, 240, size=3).astype(np.float32)
    tall, wide = height // 28, width // 28
    coarse = rng.standard_normal((tall, wide), np.float32) * texture
    fine = rng.standard_normal((height // 4, width // 4), np.float32) * (texture / 2)
    shade = fine + np.repeat(np.repeat(coarse, 7, axis=0), 7, axis=1)
    grain = tint + shade[:, None, :, None, None]
    return np.broadcast_to(grain, (height // 4, 4, width // 4, 4, 3)).reshape(height, width, 3)


def finish(image: np.ndarray) -> np.ndarray:
    """The image as uint8 [height, width, 3]; the float image is used up."""
    np.rint(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def fill(image: np.ndarray, mask: np.ndarray, centre: tuple[int, int], colour) -> None:
    """Paint a coverage mask [h, w] with its middle at centre (x, y), in place."""
    tall, wide = mask.shape
    top, left = centre[1] - tall // 2, centre[0] - wide // 2
    region = image[top : top + tall, left : left + wide]
    region += (np.asarray(colour, np.float32) - region) * mask[:, :, None]


def fill_box(image: np.ndarray, box: tuple[int, int, int, int], colour) -> None:
    """Paint a rectangle x1, y1, x2, y2 (whole pixels, cut at the border), in place."""
    x1, y1, x2, y2 = (max(0, int(value)) for value in box)
    image[y1:y2, x1:x2] = colour


def plate(
    rng: np.random.Generator, image: np.ndarray, number: int, brief: Brief, centre: tuple[int, int]
) -> Box:
    """Put a plate with a small number on the image, in place; its box in pixels."""
    grey = smallprint.draw_plate(rng, number, brief.face, brief.digit_height, brief.print)
    tall, wide = grey.shape
    left, top = centre[0] - wide // 2, centre[1] - tall // 2
    image[top : top + tall, left : left + wide] = grey[:, :, None]
    return (left, top, left + wide, top + tall)


def vary(rng: np.random.Generator, colour: tuple[int, int, int]) -> np.ndarray:
    """A colour up to 12 levels off in each channel, float32 [3]."""
    return np.clip(np.array(colour) + rng.integers(-12, 13, size=3), 0, 255).astype(np.float32)


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
        grey = rng.integers(*_CLUTTER)
        for step in (-14, 0, 14):
            half = int(rng.integers(8, 28))
            fill_box(image, (x - half, y + step - 3, x + half, y + step + 3), grey)
