"""Documents: lines of grey text, each with a mark at the left and one number in small print."""

import numpy as np

from r3jax.data.world import canvas, faces, layouts, places, shapes, smallprint
from r3jax.data.world.brief import Brief, draw_numbers
from r3jax.data.world.wording import ORDINALS

_LETTER_HEIGHT = 36  # raw pixels; 12 in the prompt


def draw(rng: np.random.Generator, brief: Brief) -> places.Picture:
    """A document: asked by the line's order, and by its bullet's colour or its letter."""
    rows, columns, cells, layout = layouts.draw_layout(
        rng, "document", brief.held_out, layouts.lines
    )
    image = canvas.paper(rng, rows * places.CELL, columns * places.CELL, texture=2)
    bulleted = bool(rng.random() < 0.5)
    heads = rng.permutation(list(places.COLOURS) if bulleted else list(places.LETTERS))
    numbers = draw_numbers(rng, len(cells), brief.small)
    found, marks = [], []
    for index, ((row, column), number) in enumerate(zip(cells, numbers)):
        head = str(heads[index])
        colour, letter = (head, None) if bulleted else (None, head)
        _draw_head(rng, image, brief, row, colour, letter)
        for other in set(range(2, columns + 1)) - {column}:
            _draw_text(rng, image, row, other)
        centre = smallprint.print_centre(rng, (row, column), brief.print)
        found.append(
            places.Place(
                cell_box=places.cell_box(row, column),
                gold_box=smallprint.gold_box((row, column), brief.print),
                plate_box=canvas.plate(rng, image, number, brief, centre),
                row=row,
                column=column,
                number=number,
                title=_line_title(colour, letter),
                words=_words(colour, letter, index, len(cells)),
                colour=colour,
                letter=letter,
            )
        )
        bullet = "circle" if bulleted else None
        marks.append(places.Mark(row, 1, colour=colour, shape=bullet, letter=letter))
    return places.Picture(
        "document", canvas.finish(image), tuple(found), tuple(marks), brief.face.name, layout
    )


def _line_title(colour: str | None, letter: str | None) -> str:
    return f"{colour} line" if colour else f"line {letter}"


def _words(colour: str | None, letter: str | None, index: int, count: int) -> dict[str, str]:
    """Ways to name the line at `index` from the top."""
    kind = "colour" if colour else "letter"
    words = {
        kind: f"the {_line_title(colour, letter)}",
        "order": f"the {ORDINALS[index]} line",
    }
    if index == count - 1:
        words["last"] = "the last line"
    return words


def _draw_head(rng, image, brief: Brief, row: int, colour: str | None, letter: str | None) -> None:
    """The coloured bullet or the big letter at the left of a line, in place."""
    centre = places.jittered_centre(rng, row, 1)
    if colour is not None:
        mask = shapes.shape_mask("circle", int(rng.integers(40, 53)))
        canvas.fill(image, mask, centre, canvas.vary(rng, places.COLOURS[colour]))
        return
    canvas.fill(image, faces.text_mask(letter, brief.face, _LETTER_HEIGHT), centre, canvas.INK)


def _draw_text(rng: np.random.Generator, image: np.ndarray, row: int, column: int) -> None:
    """Two grey strokes that stand for words, in place."""
    x, y = places.jittered_centre(rng, row, column)
    for step in (-8, 8):
        half = int(rng.integers(18, 34))
        canvas.fill_box(image, (x - half, y + step - 3, x + half, y + step + 3), 165)
