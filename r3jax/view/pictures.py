"""Images for pages and figures: scaled for showing, packed into data URLs, colours of the looks."""

import base64
import io

import numpy as np
from PIL import Image

# Colours that people who see few colours tell apart (Okabe and Ito), one for each look in turn.
LOOK_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#b3478c", "#c48a00", "#3f9bd1")
FAILED_COLOUR = "#8a8f98"


def colour_of(look_index: int) -> str:
    """The colour of the look with this index, counted from 0."""
    return LOOK_COLOURS[look_index % len(LOOK_COLOURS)]


def fit(image: np.ndarray, max_side: int) -> Image.Image:
    """A picture of an image, uint8 [height, width, 3], with no side over `max_side` pixels."""
    picture = Image.fromarray(image)
    scale = max_side / max(picture.size)
    if scale >= 1:
        return picture
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)


def data_url(image: np.ndarray, max_side: int = 1024) -> str:
    """An image, uint8 [height, width, 3], as a PNG data URL; large ones are scaled down first.

    PNG, since small print in drawn pictures is what a trace is about.
    """
    return _url(fit(image, max_side), "png", optimize=True)


def thumbnail(image: np.ndarray, max_side: int = 480) -> str:
    """An image as a small JPEG data URL, for pages that show many."""
    return _url(fit(image, max_side), "jpeg", quality=80)


def _url(picture: Image.Image, kind: str, **options) -> str:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(data.getvalue()).decode("ascii")
