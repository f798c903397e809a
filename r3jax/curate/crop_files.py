"""Crop files beside a trace, compared with the crops that its boxes give."""

import enum
import pathlib

import numpy as np

from r3jax.data import images

TOLERANCE = 10.0  # grey levels of 255, on average: what JPEG and another way to resize change


class Likeness(enum.StrEnum):
    """How a file is to our crop."""

    AGREES = "agrees"
    OTHER_SIZE = "other size"  # shows the same, larger or smaller
    OTHER_PIXELS = "other pixels"
    MISSING = "missing"
    UNREADABLE = "unreadable"


def compare(name: str, root: str | pathlib.Path, crop: np.ndarray) -> tuple[Likeness, float]:
    """How the file `name` under `root` is to a crop, uint8 [height, width, 3], and by how many grey
    levels it differs on average once both are as small as the smaller (NaN without a file)."""
    try:
        file = images.open_image(name, root)
    except images.ImageError as error:
        gone = error.fault is images.ImageFault.MISSING
        return (Likeness.MISSING if gone else Likeness.UNREADABLE), float("nan")
    height, width = (min(sides) for sides in zip(file.shape[:2], crop.shape[:2]))
    both = [images.resize(one, height, width, images.LANCZOS) for one in (file, crop)]
    difference = float(np.abs(both[0].astype(np.int16) - both[1]).mean())
    if difference > TOLERANCE:
        return Likeness.OTHER_PIXELS, difference
    same_size = file.shape == crop.shape
    return (Likeness.AGREES if same_size else Likeness.OTHER_SIZE), difference
