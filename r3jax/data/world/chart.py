"""Bar charts: coloured bars, each with its value in small print at its top."""

import numpy as np

from r3jax.data.world import canvas, layouts, places, smallprint
from r3jax.data.world.brief import Brief, draw_numbers
from r3jax.data.world.wording import ORDINALS

_BASELINE = 6  # raw pixels above the lower border


def draw(rng: np.random.Generator, brief: Brief) -> places.Picture:
    """A chart: asked by colour, by height (tallest, shortest) or by order from the left."""
    rows, columns, cells, layout = layouts.draw_layout(rng, "chart", brief.held_out, layouts.bars)
    height, width = rows * places.CELL, columns * places.CELL
    image = canvas.paper(rng, height, width, texture=2)
    _draw_grid(rng, image)
    colours = [str(c) for c in rng.permutation(list(places.COLOURS))[: len(cells)]]
    numbers = draw_numbers(rng, len(cells), brief.small)
    left_to_right = sorted(cell[1] for cell in cells)
    tops = [cell[0] for cell in cells]
    found, marks = [], []
    for cell, colour, number in zip(cells, colours, numbers):
        row, column = cell
        x, y = places.jittered_centre(rng, row, column)
        tag = smallprint.print_centre(rng, cell, brief.print)
        half, top = int(rng.integers(22, 28)), y - int(rng.integers(20, 29))
        paint = canvas.vary(rng, places.COLOURS[colour])
        canvas.fill_box(image, (x - half, top, x + half, height - _BASELINE), paint)
        found.append(
            places.Place(
                cell_box=places.cell_box(row, column),
                gold_box=smallprint.gold_box(cell, brief.print),
                plate_box=canvas.plate(rng, image, number, brief, tag),
                row=row,
                column=column,
                number=number,
                title=f"{colour} bar",
                words=_words(colour, left_to_right.index(column), len(cells), row, tops),
                colour=colour,
            )
        )
        marks += [places.Mark(below, column, colour=colour) for below in range(row, rows + 1)]
    return places.Picture(
        "chart", canvas.finish(image), tuple(found), tuple(marks), brief.face.name, layout
    )


def _words(colour: str, index: int, count: int, row: int, tops: list[int]) -> dict[str, str]:
    """Ways to name the bar at `index` from the left whose top is in `row`."""
    words = {"colour": f"the {colour} bar", "order": f"the {ORDINALS[index]} bar"}
    if index == count - 1:
        words["last"] = "the last bar"
    if row == min(tops):
        words["height"] = "the tallest bar"
    if row == max(tops):
        words["height"] = "the shortest bar"
    return words


def _draw_grid(rng: np.random.Generator, image: np.ndarray) -> None:
    """Faint lines across and a dark line at the bottom, in place."""
    height, width = image.shape[:2]
    for y in range(int(rng.integers(20, 64)), height, 63):
        canvas.fill_box(image, (0, y, width, y + 2), 200)
    canvas.fill_box(image, (0, height - _BASELINE, width, height - _BASELINE + 3), 60)
