"""Sequences of words and images for tests, and what the model is called with for them."""

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import patches, positions
from r3jax.model import qwen
from r3jax.model.config import ModelConfig

CASES = {"text": "", "one": "A", "two": "AD", "interleaved": "ABC"}
"""Which images each golden sequence holds, in order."""

SIDES = {"A": (140, 196), "B": (84, 56), "C": (112, 112), "D": (252, 224)}
"""Heights and widths: ragged windows, less than a window, one window exactly, several."""


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with gradients, a chequerboard and a disc, by integer arithmetic: uint8."""
    y, x = np.mgrid[:height, :width]
    red = (x * 255) // max(1, width - 1)
    green = (y * (150 + 20 * (seed % 5))) // max(1, height - 1)
    blue = ((x // 9 + y // 6 + seed) % 2) * 190 + 25
    image = np.stack([red, green, blue], axis=-1)
    radius = max(1, min(height, width) // 3)
    disc = (x - width // (2 + seed % 3)) ** 2 + (y - height // 2) ** 2 <= radius**2
    image[disc] = [(37 * seed + 230) % 256, (91 * seed + 30) % 256, (53 * seed + 60) % 256]
    return image.astype(np.uint8)


LOOKS = {"early": ((3, "B"), (7, None)), "late": ((5, "C"), (3, "D"), (4, None))}
"""Greedy decoding with looks: so many tokens, then that picture is put into the sequence."""


def picture(name: str) -> np.ndarray:
    """One of the golden pictures A, B, C, D."""
    return draw(*SIDES[name], seed=ord(name))


def image_tokens(image: np.ndarray, config: ModelConfig) -> np.ndarray:
    """The tokens that stand for an image: start, one for each merged patch, end."""
    rows, columns = patches.merged_grid(image.shape)
    inside = [config.image_token_id] * (rows * columns)
    return np.array([config.vision_start_token_id, *inside, config.vision_end_token_id], np.int32)


def num_words(config: ModelConfig) -> int:
    """Tokens below this number are ordinary words."""
    return min(config.image_token_id, config.vision_start_token_id) - 16


def words(count: int, rng: np.random.RandomState, config: ModelConfig) -> np.ndarray:
    """Random ordinary tokens."""
    return rng.randint(0, num_words(config), count).astype(np.int32)


def compose(images: Sequence[np.ndarray], config: ModelConfig, seed: int) -> np.ndarray:
    """Tokens int32 [T]: some words, an image, some words, the next image, ..., some words."""
    rng = np.random.RandomState(seed)
    parts = [words(rng.randint(3, 12), rng, config)]
    for image in images:
        parts += [image_tokens(image, config), words(rng.randint(3, 12), rng, config)]
    return np.concatenate(parts)


def golden_case(name: str, config: ModelConfig) -> tuple[np.ndarray, list[np.ndarray]]:
    """Tokens and images of a golden sequence."""
    images = [picture(letter) for letter in CASES[name]]
    return compose(images, config, seed=sum(map(ord, name))), images


class Inputs(NamedTuple):
    """The arguments of the model for one padded sequence; see `Qwen25VL.__call__`."""

    tokens: np.ndarray
    positions: np.ndarray
    mask: np.ndarray
    feature_index: np.ndarray
    images: patches.VisionBatch | None


def arrange(images: Sequence[np.ndarray], rows: int = 1, windows: int | None = None):
    """Pictures as a VisionBatch, `rows` rows of `windows`, and the index of their tokens."""
    grids = [patches.merged_grid(image.shape) for image in images]
    shapes = [patches.window_shape(*grid) for grid in grids]
    windows = windows or sum(shape[0] for shape in shapes)
    cut = [patches.patchify(image) for image in images]
    slots = patches.UNIT * patches.WINDOW**2
    return patches.arrange(cut, grids, rows, windows, slots)


def inputs(
    tokens: np.ndarray,
    images: Sequence[np.ndarray],
    config: ModelConfig,
    length: int | None = None,
    windows: int | None = None,
) -> Inputs:
    """One sequence as model inputs, padded on the right to `length`.

    With `windows` there is a row of so many windows of images, even where the sequence has none.
    """
    length = length or len(tokens)
    grids = [patches.merged_grid(image.shape) for image in images]
    position, _ = positions.rope_index(tokens, grids, config.image_token_id)
    feature_index = np.full(len(tokens), -1, np.int32)
    batch = None
    if images or windows:
        batch, index = arrange(images, windows=windows)
        feature_index[tokens == config.image_token_id] = np.concatenate([[], *index])
    pad = (0, length - len(tokens))
    return Inputs(
        np.pad(tokens, pad)[None],
        np.pad(position, ((0, 0), pad))[:, None],
        np.pad(np.ones(len(tokens), bool), pad)[None],
        np.pad(feature_index, pad, constant_values=-1)[None],
        batch,
    )


@functools.partial(jax.jit, static_argnums=0)
def _encode(model, params, batch):
    return model.apply({"params": params}, batch, method="encode")


@functools.partial(jax.jit, static_argnums=0)
def _apply(model, params, given):
    return model.apply({"params": params}, *given)


def features(model: qwen.Qwen25VL, params: dict, images: Sequence[np.ndarray], **bucket):
    """Features of each picture in raster order, a list of float32 [tokens, D]."""
    batch, index = arrange(images, **bucket)
    table = np.asarray(_encode(model, params, batch))
    return [table[rows] for rows in index]


def logits(model: qwen.Qwen25VL, params: dict, given: Inputs) -> np.ndarray:
    """Logits float32 [T, V] of the real tokens of one sequence."""
    return np.asarray(_apply(model, params, given))[0][: int(given.mask.sum())]


def token_logprobs(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Log-probability of each token but the first, [T - 1]."""
    logp = jax.nn.log_softmax(logits[:-1], axis=-1)
    return jnp.take_along_axis(logp, tokens[1:, None], axis=-1)[:, 0]


def loss(model: qwen.Qwen25VL, params: dict, given: Inputs, weight: np.ndarray) -> jax.Array:
    """Mean negative log-probability of the tokens with weight 1 (float [T])."""
    out = model.apply({"params": params}, *given)[0]
    return -(token_logprobs(out, given.tokens[0]) * weight[1:]).sum() / weight[1:].sum()


def loss_weight(tokens: np.ndarray, config: ModelConfig) -> np.ndarray:
    """1 for words from a third of the sequence on, 0 for images and the beginning."""
    vision = (config.image_token_id, config.vision_start_token_id, config.vision_end_token_id)
    late = np.arange(len(tokens)) >= len(tokens) // 3
    return (late & ~np.isin(tokens, vision)).astype(np.float32)


def fingerprint(values: np.ndarray) -> str:
    """SHA-256 of an array's shape and little-endian bytes."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return hashlib.sha256(str(values.shape).encode() + little.tobytes()).hexdigest()
