"""Greedy decoding with a prompt computed once, episodes in one suffix cache, and looks between.

A small driver for tests: the cache is fed in chunks of one width, rows of different lengths at
once, so that padding is written behind each row's tokens all the time.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import patches, positions
from r3jax.model import caches, qwen
from tests.model import sequences

WIDTH = 80  # tokens of a chunk: enough for the largest picture


@functools.partial(jax.jit, static_argnums=0)
def _prefill(model, params, given: sequences.Inputs):
    policy = qwen.make_policy(model, params)

    def run(m):
        features = None if given.images is None else m.encode(given.images)
        x = m.embed(given.tokens, given.feature_index, features)
        hidden, prefix = m.prefill(x, given.positions, policy.layers, given.mask)
        last = given.mask.sum(-1) - 1
        return m.logits(jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]), prefix

    return model.apply({"params": policy.params}, method=run)


@functools.partial(jax.jit, static_argnums=0)
def _append(model, params, chunk, prefix, cache):
    tokens, position, feature_index, lengths, start, features = chunk
    policy = qwen.make_policy(model, params)

    def run(m):
        x = m.embed(tokens, feature_index, features)
        seen = {"prefix": prefix, "cache": cache, "start": start}
        hidden, new = m.extend(x, position, policy.layers, **seen)
        last = jnp.maximum(lengths - 1, 0)[..., None, None]
        return m.logits(jnp.take_along_axis(hidden, last, axis=2)[:, :, 0]), caches.append(
            cache, new, start
        )

    return model.apply({"params": policy.params}, method=run)


class Row:
    """One episode on its way: what it has said, what it still has to do."""

    def __init__(self, looks, next_position: int):
        self.suffix: list[int] = []
        self.looks = [list(look) for look in looks]
        self.next_position = next_position

    @property
    def done(self) -> bool:
        return not self.looks

    def chunk(self, model, params, logits: np.ndarray):
        """The tokens to append next, their positions, and features of a picture or None."""
        config, look = model.config, self.looks[0]
        word = np.array([logits[: sequences.num_words(config)].argmax()], np.int32)
        look[0] -= 1
        position, self.next_position = positions.text_positions(self.next_position, 1)
        tokens, features = word, None
        if not look[0]:
            self.looks.pop(0)
            if look[1] is not None:
                picture = sequences.picture(look[1])
                features = sequences.features(model, params, [picture], windows=16)[0]
                tokens = np.concatenate([word, sequences.image_tokens(picture, config)])
                more, self.next_position = positions.rope_index(
                    tokens[1:],
                    [patches.merged_grid(picture.shape)],
                    config.image_token_id,
                    start=self.next_position,
                )
                position = np.concatenate([position, more], axis=1)
        self.suffix += tokens.tolist()
        return tokens, position, features


def decode(
    model: qwen.Qwen25VL, params: dict, given: sequences.Inputs, scripts: Sequence[Sequence]
) -> list[np.ndarray]:
    """The suffix of each script; they are the episodes of the group with the prompt `given`."""
    logits, prefix = _prefill(model, params, given)
    after_prompt = int(given.positions[:, 0, : int(given.mask.sum())].max()) + 1
    rows = [Row(looks, after_prompt) for looks in scripts]
    slots = WIDTH + max(_length(script) for script in scripts)
    cache = caches.empty_cache(model.config.text, 1, len(rows), slots, jnp.float32)
    row_logits = np.repeat(np.asarray(logits), len(rows), axis=0)
    while not all(row.done for row in rows):
        start = np.array([[len(row.suffix) for row in rows]], np.int32)
        chunk = _chunk(model, params, rows, row_logits)
        out, cache = _append(model, params, (*chunk[:4], start, chunk[4]), prefix, cache)
        row_logits = np.asarray(out)[0]
    return [np.array(row.suffix, np.int32) for row in rows]


def _length(script) -> int:
    """Tokens that a script will come to."""
    sides = [sequences.SIDES[letter] for _, letter in script if letter]
    pictures = sum(height * width // patches.FACTOR**2 + 2 for height, width in sides)
    return sum(count for count, _ in script) + pictures


def _chunk(model, params, rows, row_logits):
    """Tokens, positions, feature index, lengths [1, G, ...] and the table of features."""
    G, D = len(rows), model.config.text.hidden_size
    tokens = np.zeros((1, G, WIDTH), np.int32)
    position = np.zeros((3, 1, G, WIDTH), np.int32)
    feature_index = np.full((1, G, WIDTH), -1, np.int32)
    lengths = np.zeros((1, G), np.int32)
    table = np.zeros((G * WIDTH, D), np.float32)
    for g, row in enumerate(rows):
        if row.done:
            continue
        new, where, features = row.chunk(model, params, row_logits[g])
        lengths[0, g] = len(new)
        tokens[0, g, : len(new)], position[:, 0, g, : len(new)] = new, where
        if features is not None:
            table[g * WIDTH : g * WIDTH + len(features)] = features
            at = np.flatnonzero(new == model.config.image_token_id)
            feature_index[0, g, at] = g * WIDTH + np.arange(len(features))
    return tokens, position, feature_index, lengths, table
