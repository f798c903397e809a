"""Names of places: position words, cells, ordinals, and how a sentence starts with a name."""

from collections.abc import Sequence

from r3jax.data.world.places import Cell

ORDINALS = ("first", "second", "third", "fourth")


def position_words(cells: Sequence[Cell], rows: int, columns: int) -> list[dict[str, str]]:
    """For each cell {"position": "the one at the top left"}, or {} where that could mean two.

    The lattice is cut into four quarters; the middle row or column of an odd lattice belongs to
    none. A place alone in its quarter is named by it.

    >>> position_words([(1, 1), (1, 3), (2, 4)], 4, 4)
    [{'position': 'the one at the top left'}, {}, {}]
    """
    quarters = [_quarter(cell, rows, columns) for cell in cells]
    alone = [quarter is not None and quarters.count(quarter) == 1 for quarter in quarters]
    return [
        {"position": f"the one at the {quarter}"} if only else {}
        for quarter, only in zip(quarters, alone)
    ]


def _quarter(cell: Cell, rows: int, columns: int) -> str | None:
    vertical = 2 * cell[0] - rows - 1
    horizontal = 2 * cell[1] - columns - 1
    if vertical == 0 or horizontal == 0:
        return None
    return f"{'top' if vertical < 0 else 'bottom'} {'left' if horizontal < 0 else 'right'}"


def cell_word(cell: Cell) -> str:
    """The name of whatever stands in a cell."""
    return f"the one in row {cell[0]}, column {cell[1]}"


def start_sentence(name: str) -> str:
    """The name with a capital letter."""
    return name[0].upper() + name[1:]
