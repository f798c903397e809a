"""Signs: coloured boards with a big letter and small print under it."""

import numpy as np

from r3jax.data.world import canvas, faces, layouts, places, smallprint
from r3jax.data.world.brief import Brief, draw_numbers
from r3jax.data.world.wording import position_words

_LETTER_HEIGHT = 36  # raw pixels; 12 in the prompt
_PRINT_BELOW = 21  # raw pixels from the middle of the cell to that of the print
_DARK_LETTER = ("yellow", "cyan", "pink")


def draw(rng: np.random.Generator, brief: Brief) -> places.Picture:
    """Signs: asked by letter, colour or position."""
    rows, columns, cells, layout = layouts.draw_layout(
        rng, "sign", brief.held_out, layouts.scattered
    )
    count = len(cells)
    image = canvas.paper(rng, rows * places.CELL, columns * places.CELL, texture=4)
    canvas.draw_clutter(rng, image, cells, brief)
    colours = [str(c) for c in rng.permutation(list(places.COLOURS))[:count]]
    letters = [str(c) for c in rng.permutation(places.LETTERS)[:count]]
    numbers = draw_numbers(rng, count, brief.small)
    positions = position_words(cells, rows, columns)
    found, marks = [], []
    for cell, colour, letter, number, position in zip(cells, colours, letters, numbers, positions):
        words = {"letter": f"the sign {letter}", "colour": f"the {colour} sign", **position}
        found.append(
            places.Place(
                cell_box=places.cell_box(*cell),
                gold_box=smallprint.gold_box(cell, brief.print, _PRINT_BELOW),
                plate_box=_draw_board(rng, image, brief, cell, colour, letter, number),
                row=cell[0],
                column=cell[1],
                number=number,
                title=f"{colour} sign {letter}",
                words=words,
                colour=colour,
                letter=letter,
            )
        )
        marks.append(places.Mark(*cell, colour=colour, letter=letter))
    return places.Picture(
        "sign", canvas.finish(image), tuple(found), tuple(marks), brief.face.name, layout
    )


def _draw_board(rng, image, brief: Brief, cell, colour: str, letter: str, number: int):
    """Draw one board in place and return the box of its small print."""
    x, y = places.jittered_centre(rng, *cell, jitter=6)
    half = int(rng.integers(32, 36))
    canvas.fill_box(
        image,
        (x - half, y - 34, x + half, y + 34),
        canvas.vary(rng, places.COLOURS[colour]),
    )
    ink = canvas.INK if colour in _DARK_LETTER else (250, 250, 250)
    mask = faces.text_mask(letter, brief.face, _LETTER_HEIGHT)
    canvas.fill(image, mask, (x, y - 12), ink)
    x, y = smallprint.print_centre(rng, cell, brief.print)
    return canvas.plate(rng, image, number, brief, (x, y + _PRINT_BELOW))
