"""Scenes: objects of distinct shapes and colours, each with a small tag on it."""

import numpy as np

from r3jax.data.world import canvas, layouts, places, shapes, smallprint
from r3jax.data.world.brief import Brief, draw_numbers
from r3jax.data.world.wording import cell_word, position_words


def draw(rng: np.random.Generator, brief: Brief) -> places.Picture:
    """A scene: asked by colour, shape, both, position or cell."""
    rows, columns, cells, layout = layouts.draw_layout(
        rng, "scene", brief.held_out, layouts.scattered
    )
    count = len(cells)
    image = canvas.paper(rng, rows * places.CELL, columns * places.CELL, texture=6)
    canvas.draw_clutter(rng, image, cells, brief)
    colours = rng.permutation(list(places.COLOURS))[:count]
    kinds = rng.permutation(shapes.SHAPES)[:count]
    numbers = draw_numbers(rng, count, brief.small)
    positions = position_words(cells, rows, columns)
    found, marks = [], []
    for cell, colour, shape, number, position in zip(cells, colours, kinds, numbers, positions):
        colour, shape = str(colour), str(shape)
        centre = places.jittered_centre(rng, *cell)
        tag = smallprint.print_centre(rng, cell, brief.print)
        mask = shapes.shape_mask(shape, int(rng.integers(60, 69)))
        canvas.fill(image, mask, centre, canvas.vary(rng, places.COLOURS[colour]))
        words = {
            "colour": f"the {colour} one",
            "shape": f"the {shape}",
            "colour_shape": f"the {colour} {shape}",
            "cell": cell_word(cell),
            **position,
        }
        found.append(
            places.Place(
                cell_box=places.cell_box(*cell),
                gold_box=smallprint.gold_box(cell, brief.print),
                plate_box=canvas.plate(rng, image, number, brief, tag),
                row=cell[0],
                column=cell[1],
                number=number,
                title=f"{colour} {shape}",
                words=words,
                colour=colour,
                shape=shape,
            )
        )
        marks.append(places.Mark(*cell, colour=colour, shape=shape))
    return places.Picture(
        "scene", canvas.finish(image), tuple(found), tuple(marks), brief.face.name, layout
    )
