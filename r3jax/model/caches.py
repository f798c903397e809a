"""Keys and values that a rollout keeps: of prompts, shared by a group, and of its episodes.

They are kept layer by layer. One array of all layers would be copied for each token: a layer can
neither read its part in place, nor can what is new be written into it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Int
from r3jax.model.config import TextConfig


class KeyValues(NamedTuple):
    """Keys and values of a layer: [B, K, P, H] of prompts, [B, K, G, S, H] of suffixes."""

    k: Array
    v: Array


SuffixCache = tuple[KeyValues, ...]
"""Of each layer, S slots a row, filled from 0 on."""


class Prefix(NamedTuple):
    """Of each layer, keys and values of prompts, and which of their P tokens are real, [B, P]."""

    layers: tuple[KeyValues, ...]
    mask: Array


def empty_cache(config: TextConfig, groups: int, episodes: int, slots: int, dtype) -> SuffixCache:
    """Returns a cache of zeros for `groups` x `episodes` rows."""
    shape = (groups, config.num_kv_heads, episodes, slots, config.head_dim)
    return _zeros(config.num_layers, shape, dtype)


def empty_prefix(config: TextConfig, groups: int, tokens: int, dtype) -> tuple[KeyValues, ...]:
    """Returns zeros for the prompts of `groups`, by layer."""
    shape = (groups, config.num_kv_heads, tokens, config.head_dim)
    return _zeros(config.num_layers, shape, dtype)


def _zeros(layers: int, shape: tuple[int, ...], dtype) -> tuple[KeyValues, ...]:
    return tuple(KeyValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(layers))


def grow(cache: SuffixCache, slots: int) -> SuffixCache:
    """Returns the cache with room for `slots` tokens."""
    more = [(0, 0)] * 3 + [(0, slots - cache[0].k.shape[3]), (0, 0)]
    return jax.tree.map(lambda kept: jnp.pad(kept, more), cache)


def write_rows(
    cache: SuffixCache,
    new: SuffixCache,
    group: Int[Array, "R"],
    episode: Int[Array, "R"],
    start: Int[Array, "R"],
) -> SuffixCache:
    """Writes keys and values of T new tokens [R, K, 1, T, H] into some rows, each from slot `start`
    on; nothing where there is no such group."""

    def write_row(number, cache):
        at = group[number], 0, episode[number], start[number], 0

        def write(kept, values):
            values = values[number][None].astype(kept.dtype)
            there = jax.lax.dynamic_slice(kept, at, values.shape)
            values = jnp.where(at[0] < len(kept), values, there)
            return jax.lax.dynamic_update_slice(kept, values, at)

        return jax.tree.map(write, cache, new)

    return jax.lax.fori_loop(0, len(group), write_row, cache)


def append(cache: SuffixCache, new: SuffixCache, start: Int[Array, "B G"]) -> SuffixCache:
    """Writes keys and values of T new tokens into S slots, from slot `start` on."""

    def write_row(row, values, at):  # [S, H], [T, H]
        return jax.lax.dynamic_update_slice(row, values.astype(row.dtype), (at, 0))

    heads = jax.vmap(write_row, (0, 0, None))  # K between B and G: nothing needs to be moved
    write = jax.vmap(jax.vmap(heads, (1, 1, 0), 1))
    return jax.tree.map(lambda old, values: write(old, values, start), cache, new)
