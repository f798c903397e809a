"""Tables of Markdown whose columns stand below each other."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """The lines of a table, its head first; columns `left` are set left, numbers right.

    >>> print("\\n".join(aligned([("name", "s"), ("a", "12")])))
    | name |  s |
    | ---- | -: |
    | a    | 12 |
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    left = [number in left for number in range(len(widths))]
    rule = ["-" * w if to_left else "-" * (w - 1) + ":" for w, to_left in zip(widths, left)]
    return [
        "| " + " | ".join(_set(*cell) for cell in zip(row, widths, left, strict=True)) + " |"
        for row in (rows[0], rule, *rows[1:])
    ]


def _set(text: str, width: int, to_left: bool) -> str:
    return text.ljust(width) if to_left else text.rjust(width)
