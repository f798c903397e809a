"""Fonts of the world: a face is a set of strokes with a width, a weight and a slant.

Training and validation use `TRAIN_FACES`, the held-out test split `TEST_FACES`: other
combinations of slant, width, weight and shapes of digits.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from r3jax.data.world import strokes

_FINE = 4  # samples a pixel, each way


@dataclasses.dataclass(frozen=True)
class Face:
    """A font: width and weight as shares of the height, slant as shift of the top over height."""

    name: str
    width: float = 0.6
    weight: float = 0.14
    slant: float = 0.0
    glyphs: Callable[[], Mapping[str, strokes.Glyph]] = strokes.plain


TRAIN_FACES = (
    Face("regular"),
    Face("thin", weight=0.11),
    Face("bold", width=0.64, weight=0.19),
    Face("slanted", slant=0.22),
    Face("wide", width=0.78),
    Face("narrow", width=0.5),
    Face("segment", width=0.58, glyphs=strokes.segments),
    Face("footed", width=0.64, glyphs=strokes.alternate),
    Face("footed bold", width=0.7, weight=0.18, glyphs=strokes.alternate),
    Face("slanted bold", width=0.66, weight=0.17, slant=0.1),
)
TEST_FACES = (
    Face("wide bold", width=0.76, weight=0.18),
    Face("narrow slanted", width=0.52, slant=0.14),
    Face("back slanted", slant=-0.14),
    Face("wide thin", width=0.72, weight=0.115, slant=0.08),
    Face("footed slanted", width=0.6, weight=0.13, slant=0.12, glyphs=strokes.alternate),
)


@functools.lru_cache(maxsize=4096)
def text_mask(text: str, face: Face, height: int) -> np.ndarray:
    """How much ink covers each pixel of a short text, float32 [height, width], 0 to 1, read-only.

    `height` is in pixels. Distances to the strokes are sampled four times a pixel each way and
    averaged, so the result does not depend on any drawing library.
    """
    gap = np.zeros((height, round(0.2 * height)), np.float32)
    parts = [_glyph_mask(text[0], face, height)]
    for char in text[1:]:
        parts += [gap, _glyph_mask(char, face, height)]
    mask = np.concatenate(parts, axis=1)
    mask.setflags(write=False)
    return mask


@functools.lru_cache(maxsize=4096)
def _glyph_mask(char: str, face: Face, height: int) -> np.ndarray:
    """Coverage of one glyph, float32 [height, width]; slant widens it."""
    weight = face.weight * height
    body = face.width * height - weight
    lean = face.slant * height
    columns = int(np.ceil(body + weight + abs(lean)))
    y, x = np.mgrid[0 : height * _FINE, 0 : columns * _FINE] / _FINE + 0.5 / _FINE
    distance = np.full(x.shape, np.inf)
    for line in face.glyphs()[char]:
        points = np.array(line, np.float64)
        points_y = weight / 2 + points[:, 1] * (height - weight)
        points_x = weight / 2 + points[:, 0] * body + max(-lean, 0) + lean * (1 - points[:, 1])
        for a, b in zip(range(len(line) - 1), range(1, len(line))):
            ends = (points_x[a], points_y[a], points_x[b], points_y[b])
            distance = np.minimum(distance, _distance_to_segment(x, y, ends))
    inside = (distance <= weight / 2).astype(np.float32)
    return inside.reshape(height, _FINE, columns, _FINE).mean(axis=(1, 3))


def _distance_to_segment(
    x: np.ndarray, y: np.ndarray, ends: tuple[float, float, float, float]
) -> np.ndarray:
    """Distance of each point (x, y) from the segment x1, y1, x2, y2."""
    x1, y1, x2, y2 = ends
    length2 = max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-12)
    along = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length2, 0.0, 1.0)
    return np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
