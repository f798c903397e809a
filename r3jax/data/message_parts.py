"""Parts of a message, as OpenAI's chat completions take them."""

import base64
from typing import Any

import numpy as np

from r3jax.data import images

Part = dict[str, Any]


def text(said: str) -> Part:
    """Words."""
    return {"type": "text", "text": said}


def image(shown: np.ndarray) -> Part:
    """An image, uint8 [height, width, 3], as PNG: not a level is lost."""
    data = base64.b64encode(images.to_png(shown)).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
