"""The look-again world: drawn images whose questions are answered only by a closer look.

Every picture holds three to six places with a small number each. The question says which place is
meant; what it says (colour, shape, letter, order, position) can be seen at the prompt's
resolution, the number cannot. Training, validation and test are told apart by fonts and layouts:
see `faces` and `layouts`.
"""

from r3jax.data.world.generate import (
    FAMILIES,
    SPLITS,
    WorldConfig,
    draw_picture,
    sample,
    samples_of_picture,
)
from r3jax.data.world.noise import NoiseConfig
from r3jax.data.world.places import CELL, COLOURS, LETTERS, Mark, Picture, Place, Sample
from r3jax.data.world.smallprint import PrintStyle

__all__ = [
    "CELL",
    "COLOURS",
    "FAMILIES",
    "LETTERS",
    "SPLITS",
    "Mark",
    "NoiseConfig",
    "Picture",
    "Place",
    "PrintStyle",
    "Sample",
    "WorldConfig",
    "draw_picture",
    "sample",
    "samples_of_picture",
]
