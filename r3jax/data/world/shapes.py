"""The shapes of scene objects, as coverage masks."""

import functools
from collections.abc import Mapping

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "heart")
_FINE = 4  # samples a pixel, each way


@functools.lru_cache(maxsize=256)
def shape_mask(shape: str, size: int) -> np.ndarray:
    """How much of each pixel a shape of `size` pixels covers, float32 [size, size], read-only."""
    grid = (np.arange(size * _FINE) + 0.5) / (size * _FINE) * 2 - 1
    x, y = np.meshgrid(grid, grid)
    if shape == "circle":
        inside = x**2 + y**2 <= 1
    elif shape == "square":
        inside = np.maximum(abs(x), abs(y)) <= 0.86
    elif shape == "heart":
        inside = _in_heart(x, y)
    else:
        inside = _in_polygon(x, y, _polygons()[shape])
    mask = inside.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3)).astype(np.float32)
    mask.setflags(write=False)
    return mask


def _in_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two discs above a triangle with its point down."""
    discs = (abs(x) - 0.48) ** 2 + (y + 0.42) ** 2 <= 0.5**2
    wedge = (y >= -0.42) & (abs(x) <= 0.98 - 0.98 * (y + 0.3) / 1.28)
    return discs | (wedge & (abs(x) <= 0.97))


@functools.cache
def _polygons() -> Mapping[str, np.ndarray]:
    """Corners of the shapes with straight sides, float64 [corners, 2], in the square -1 to 1."""
    angles = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
    arm = 0.38
    cross = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
    cross += [(-px, -py) for px, py in cross]
    return {
        "triangle": np.array([(0, -1), (1, 0.9), (-1, 0.9)], float),
        "diamond": np.array([(0, -1), (0.8, 0), (0, 1), (-0.8, 0)], float),
        "star": np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1),
        "cross": np.array(cross, float),
    }


def _in_polygon(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Whether each point lies in a polygon: it crosses the outline an odd number of times."""
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0)):
        if y1 == y2:
            continue
        crosses = (y1 > y) != (y2 > y)
        inside ^= crosses & (x < x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return inside
