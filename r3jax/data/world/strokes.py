"""The glyphs of the world's fonts as polylines in a unit box, x to the right and y down.

Fonts are drawn from strokes and not taken from the system, so that the same seed gives the same
pixels on every machine.
"""

import functools
from collections.abc import Mapping

import numpy as np

Line = tuple[tuple[float, float], ...]
Glyph = tuple[Line, ...]


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> Line:
    """Points of an ellipse from angle start to stop in degrees: 0 right, 90 down, 270 up."""
    count = max(4, int(abs(stop - start) / 20))
    angles = np.radians(np.linspace(start, stop, count + 1))
    return tuple((cx + rx * np.cos(a), cy + ry * np.sin(a)) for a in angles)


def _turn(glyph: Glyph) -> Glyph:
    """The glyph turned by half a circle: a 6 becomes a 9."""
    return tuple(tuple((1 - x, 1 - y) for x, y in line) for line in glyph)


@functools.cache
def plain() -> Mapping[str, Glyph]:
    """Digits and the letters A to H of an ordinary sans-serif hand."""
    six = (_arc(0.5, 0.69, 0.46, 0.31, 0, 360), _arc(0.92, 0.69, 0.88, 0.68, 180, 262))
    return {
        "0": (_arc(0.5, 0.5, 0.5, 0.5, 0, 360),),
        "1": (((0.2, 0.22), (0.58, 0.0), (0.58, 1.0)),),
        "2": ((*_arc(0.5, 0.28, 0.46, 0.28, 190, 395), (0.02, 1.0), (1.0, 1.0)),),
        "3": ((*_arc(0.45, 0.26, 0.45, 0.25, 200, 450), *_arc(0.45, 0.755, 0.5, 0.245, 270, 520)),),
        "4": (((0.7, 1.0), (0.7, 0.0), (0.0, 0.68), (1.0, 0.68)),),
        "5": (((0.92, 0.0), (0.15, 0.0), *_arc(0.46, 0.68, 0.5, 0.32, 225, 510)),),
        "6": six,
        "7": (((0.0, 0.0), (1.0, 0.0), (0.35, 1.0)),),
        "8": (_arc(0.5, 0.25, 0.4, 0.25, 0, 360), _arc(0.5, 0.75, 0.48, 0.25, 0, 360)),
        "9": _turn(six),
        "A": (((0.0, 1.0), (0.5, 0.0), (1.0, 1.0)), ((0.2, 0.65), (0.8, 0.65))),
        "B": (
            ((0.0, 1.0), (0.0, 0.0), *_arc(0.5, 0.24, 0.4, 0.24, 270, 450), (0.0, 0.48)),
            (*_arc(0.52, 0.74, 0.46, 0.26, 270, 450), (0.0, 1.0)),
        ),
        "C": (_arc(0.55, 0.5, 0.55, 0.5, 310, 50),),
        "D": (((0.0, 1.0), (0.0, 0.0), *_arc(0.4, 0.5, 0.6, 0.5, 270, 450), (0.0, 1.0)),),
        "E": (((1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (1.0, 1.0)), ((0.0, 0.5), (0.8, 0.5))),
        "F": (((1.0, 0.0), (0.0, 0.0), (0.0, 1.0)), ((0.0, 0.5), (0.8, 0.5))),
        "G": ((*_arc(0.55, 0.5, 0.55, 0.5, 310, 20), (1.05, 0.58), (0.6, 0.58)),),
        "H": (((0.0, 0.0), (0.0, 1.0)), ((1.0, 0.0), (1.0, 1.0)), ((0.0, 0.5), (1.0, 0.5))),
    }


@functools.cache
def segments() -> Mapping[str, Glyph]:
    """Digits of a seven-segment display; letters as in `plain`."""
    bars = {
        "a": ((0.0, 0.0), (1.0, 0.0)),
        "b": ((1.0, 0.0), (1.0, 0.5)),
        "c": ((1.0, 0.5), (1.0, 1.0)),
        "d": ((0.0, 1.0), (1.0, 1.0)),
        "e": ((0.0, 0.5), (0.0, 1.0)),
        "f": ((0.0, 0.0), (0.0, 0.5)),
        "g": ((0.0, 0.5), (1.0, 0.5)),
    }
    lit = "abcdef,bc,abged,abgcd,fgbc,afgcd,afgedc,abc,abcdefg,abcdfg"
    digits = {str(i): tuple(bars[bar] for bar in names) for i, names in enumerate(lit.split(","))}
    return {**plain(), **digits}


@functools.cache
def alternate() -> Mapping[str, Glyph]:
    """As `plain`, with a footed 1, an open 4, a crossed 7 and a straight-stemmed 9."""
    return {
        **plain(),
        "1": (((0.15, 0.22), (0.55, 0.0), (0.55, 1.0)), ((0.15, 1.0), (0.95, 1.0))),
        "4": (((0.15, 0.0), (0.0, 0.62), (1.0, 0.62)), ((0.74, 0.3), (0.74, 1.0))),
        "7": (((0.0, 0.0), (1.0, 0.0), (0.4, 1.0)), ((0.25, 0.5), (0.9, 0.5))),
        "9": (_arc(0.48, 0.3, 0.44, 0.3, 0, 360), ((0.92, 0.3), (0.92, 1.0))),
    }
