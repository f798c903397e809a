"""Packed streams: the tokens of padded groups one after the other, without the padding.

All that a layer does to each token by itself runs on the stream, whose length is the number of real
tokens, rounded up to a bucket. Attention alone needs groups: queries, keys and values move to their
padded places, and what comes out moves back. Both ways are gathers, and so are their gradients.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.arrays import Array, Bool, Int


class Stream(NamedTuple):
    """Where each padded place finds its token in the stream, and where each token has its place.

    prompt int32 [R, B/R, P] and suffix int32 [R, B/R, G, T] number the tokens of a row from 0 to J,
    which stands for padding. place int32 [R, J] numbers a row's places, those of prompts before
    those of suffixes, up to their count, which stands for padding too. Groups never cross rows, so
    that rows may lie on different devices.
    """

    prompt: Array
    suffix: Array
    place: Array

    @property
    def prompt_mask(self) -> Bool[Array, "B P"]:
        """Which places of prompts hold a token."""
        return _by_group(self.prompt < self.place.shape[1])

    @property
    def suffix_mask(self) -> Bool[Array, "B G T"]:
        """Which places of suffixes hold a token."""
        return _by_group(self.suffix < self.place.shape[1])

    def spread(self, tokens: Array) -> tuple[Array, Array]:
        """Moves a stream [R, J, ...] to prompts [B, P, ...] and suffixes [B, G, T, ...].

        Places without a token are zero.
        """
        flat = move(tokens, self._tokens(), self.place)
        prompt, suffix = jnp.split(flat, [self.prompt[0].size], axis=1)
        more = tokens.shape[2:]
        return (
            _by_group(prompt.reshape(*self.prompt.shape, *more)),
            _by_group(suffix.reshape(*self.suffix.shape, *more)),
        )

    def gather(self, prompt: Array, suffix: Array, fill: int = 0) -> Array:
        """Moves prompts [B, P, ...] and suffixes [B, G, T, ...] to a stream [R, J, ...].

        Padding of the stream is `fill`.
        """
        shape = (self.place.shape[0], -1, *prompt.shape[2:])
        flat = jnp.concatenate([prompt.reshape(shape), suffix.reshape(shape)], axis=1)
        return move(flat, self.place, self._tokens(), fill)

    def _tokens(self) -> Int[Array, "R M"]:
        parts = [y.reshape(y.shape[0], -1) for y in (self.prompt, self.suffix)]
        return jnp.concatenate(parts, axis=1)


def lay_out(
    prompt_lengths: Int[np.ndarray, "B"],
    suffix_lengths: Int[np.ndarray, "B G"],
    prompt_tokens: int,
    suffix_tokens: int,
    stream_tokens: int,
    rows: int = 1,
) -> Stream:
    """Returns the stream of padded prompts [B, P] and suffixes [B, G, T] of these lengths.

    Raises: ValueError where `rows` does not divide B, or a row has more than `stream_tokens`.
    """
    B, G = suffix_lengths.shape
    if B % rows:
        raise ValueError(f"{B} groups cannot be dealt to {rows} rows: B must be a multiple of it")
    prompt = np.arange(prompt_tokens) < np.asarray(prompt_lengths)[:, None]
    suffix = np.arange(suffix_tokens) < np.asarray(suffix_lengths)[..., None]
    real = np.concatenate([prompt.reshape(rows, -1), suffix.reshape(rows, -1)], axis=1)
    if (most := int(real.sum(1).max())) > stream_tokens:
        raise ValueError(f"{most} tokens do not fit into a stream of {stream_tokens}")
    number = np.where(real, np.cumsum(real, axis=1) - 1, stream_tokens).astype(np.int32)
    place = np.full((rows, stream_tokens), real.shape[1], np.int32)
    for row in range(rows):
        where = np.flatnonzero(real[row])
        place[row, : len(where)] = where
    size = B // rows * prompt_tokens
    return Stream(
        number[:, :size].reshape(rows, -1, prompt_tokens),
        number[:, size:].reshape(rows, -1, G, suffix_tokens),
        place,
    )


def _by_group(array: Array) -> Array:
    """[R, B/R, ...] as [B, ...]."""
    return array.reshape(-1, *array.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def move(
    values: Array, source: Int[Array, "R Y"], target: Int[Array, "R X"], fill: int = 0
) -> Array:
    """Returns [R, Y, ...]: each row of `values` [R, X, ...] at `source`, `fill` beyond its end.

    `target` is the inverse of `source` (Y or more for values that move nowhere), so that the
    gradient is a gather as well: a scatter is many times slower.
    """

    def one(row, index):
        return row.at[index].get(mode="fill", fill_value=fill)

    return jax.vmap(one)(values, source)


def _move_forward(values, source, target, fill):
    return move(values, source, target, fill), (source, target)


def _move_backward(fill, kept, gradient):
    source, target = kept
    return move(gradient, target, source), None, None


move.defvjp(_move_forward, _move_backward)
