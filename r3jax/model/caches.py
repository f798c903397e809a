"""Keys and values that a rollout keeps: of prompts, shared by a group, and of its episodes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Int
from r3jax.model.config import TextConfig


class Prefix(NamedTuple):
    """Keys and values of prompts, [L, B, K, P, H], and which of the P are real, bool [B, P]."""

    k: Array
    v: Array
    mask: Array


class SuffixCache(NamedTuple):
    """Keys and values of suffixes, [L, B, K, G, S, H]; S slots, filled from 0 on."""

    k: Array
    v: Array


def empty_cache(config: TextConfig, groups: int, episodes: int, slots: int, dtype) -> SuffixCache:
    """Returns a cache of zeros for `groups` x `episodes` rows."""
    shape = (config.num_layers, groups, config.num_kv_heads, episodes, slots, config.head_dim)
    return SuffixCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def grow(cache: SuffixCache, slots: int) -> SuffixCache:
    """Returns the cache with room for `slots` tokens."""
    more = [(0, 0)] * 4 + [(0, slots - cache.k.shape[4]), (0, 0)]
    return SuffixCache(*(jnp.pad(part, more) for part in cache))


def append(cache: SuffixCache, new: SuffixCache, start: Int[Array, "B G"]) -> SuffixCache:
    """Writes keys and values of T new tokens into S slots, from slot `start` on."""

    def write_row(row, values, at):  # [L, K, S, H], [L, K, T, H]
        return jax.lax.dynamic_update_slice(row, values.astype(row.dtype), (0, 0, at, 0))

    write = jax.vmap(jax.vmap(write_row, in_axes=(2, 2, 0), out_axes=2), (1, 1, 0), 1)
    return SuffixCache(*(write(old, values, start) for old, values in zip(cache, new)))
