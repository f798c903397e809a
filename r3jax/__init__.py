"""r3jax trains a vision-language model to look again: VLM-R3 in JAX.

For notebooks:

    vlm = r3jax.from_pretrained("runs/look_again/export")
    episode = vlm.look_again("street.jpg", "What is the number on the red door?")
    episode.answer, episode.looks
"""

import importlib
from typing import Any

__all__ = ["VLM", "from_pretrained"]


def __getattr__(name: str) -> Any:
    # Only asked for what is not imported yet: `import r3jax` alone loads no JAX.
    if name in __all__:
        return getattr(importlib.import_module("r3jax.run.vlm"), name)
    raise AttributeError(f"module 'r3jax' has no attribute {name!r}")
