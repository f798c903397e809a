"""What the host adds to rows that wait for it: a crop with its frame, or a message.

Few of a batch's rows wait at a time. They alone are computed: they are taken out of the state, as
groups of one episode each, and what is new of them is put back.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import batches
from r3jax.arrays import Array, Int
from r3jax.model import caches
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.rollout import stops
from r3jax.rollout.state import DecodeState, at, embed


class Insertion(NamedTuple):
    """What is added to rows, of each part of the groups in as many lines.

    Of each line [R]: `row`, the number of a row within its part, counted group by group (as many as
    there are, or more: none); tokens, source, feature_index [R, T] and positions [R, 3, T] of what
    comes in; how many of them `count` (0: only the status changes); next_position and status after
    it.
    """

    row: Array
    tokens: Array
    source: Array
    positions: Array
    feature_index: Array
    count: Array
    next_position: Array
    status: Array


class Taken(NamedTuple):
    """Rows out of a state [R]: the prefix that each sees, its cache [R, K, 1, S, H] a layer, the
    token and its position [3, R] that are fed next, and the slot that it is in."""

    prefix: caches.Prefix
    cache: caches.SuffixCache
    token: Array
    position: Array
    slot: Array


def empty(lines: int, tokens: int, beyond: int) -> Insertion:
    """Lines of up to `tokens` that change nothing: they are for the row `beyond` the last."""
    shape = (lines, tokens)
    return Insertion(
        row=np.full(lines, beyond, np.int32),
        tokens=np.zeros(shape, np.int32),
        source=np.zeros(shape, np.int8),
        positions=np.zeros((lines, 3, tokens), np.int32),
        feature_index=np.full(shape, batches.NO_FEATURE, np.int32),
        count=np.zeros(lines, np.int32),
        next_position=np.zeros(lines, np.int32),
        status=np.zeros(lines, np.int32),
    )


def append(
    model: Qwen25VL,
    take: Callable[[DecodeState, Array], Taken],
    put: Callable[[DecodeState, Insertion, caches.SuffixCache], DecodeState],
    policy: Policy,
    state: DecodeState,
    insertion: Insertion,
    features: Array,
) -> DecodeState:
    """Feeds what is inserted after each row, all but its last token, to the cache.

    `take` and `put` are those below, for every part of the groups; `features` [parts, F, D] are
    those of the crops.
    """
    rows = take(state, insertion.row)

    def led(first: Array, given: Array) -> Array:
        # The row's last sampled token has not been fed yet: it leads, the last inserted one waits.
        return jnp.concatenate([first[..., None], given[..., :-1]], axis=-1)

    tokens, position = led(rows.token, insertion.tokens), jnp.moveaxis(insertion.positions, 0, 1)
    index = led(jnp.full_like(rows.token, batches.NO_FEATURE), insertion.feature_index)
    x = embed(model, policy, tokens, index, features)[:, None]
    given = x, led(rows.position, position)[:, :, None], policy.layers
    seen = {"prefix": rows.prefix, "cache": rows.cache, "start": rows.slot[:, None]}
    _, new = model.apply({"params": policy.params}, *given, **seen, method="extend")
    return put(state, insertion, new)


def take(state: DecodeState, row: Int[Array, "R"]) -> Taken:
    """Takes rows out of the state of one part; of a row that is none, any."""
    group, episode = jnp.divmod(row, state.length.shape[1])

    def of_rows(array: Array) -> Array:
        return array.at[group, episode].get(mode="clip")

    def of_groups(array: Array) -> Array:
        return array.at[group].get(mode="clip")

    last = state.length - 1

    def of_cache(kept: Array) -> Array:
        return kept.at[group, :, episode].get(mode="clip")[:, :, None]

    return Taken(
        prefix=jax.tree.map(of_groups, state.prefix),
        cache=jax.tree.map(of_cache, state.cache),
        token=of_rows(at(state.tokens, last)),
        position=jnp.stack([of_rows(axis) for axis in at(state.positions, last)]),
        slot=of_rows(last),
    )


def put(state: DecodeState, insertion: Insertion, new: caches.SuffixCache) -> DecodeState:
    """Puts rows of one part back, with what is inserted and its keys and values `new`,
    [R, K, 1, T, H] a layer."""
    where = jnp.divmod(insertion.row, state.length.shape[1])
    length = state.length.at[where].get(mode="clip")
    place = jnp.arange(state.tokens.shape[-1])[None] - length[:, None]
    inside = (place >= 0) & (place < insertion.count[:, None])
    place = jnp.clip(place, 0, insertion.tokens.shape[-1] - 1)

    def write(array: Array, values: Array) -> Array:  # [B, G, S], [R, T]
        there = jnp.take_along_axis(values.astype(array.dtype), place, axis=1)
        rows = jnp.where(inside, there, array.at[where].get(mode="clip"))
        return array.at[where].set(rows, mode="drop")

    positions = zip(state.positions, jnp.moveaxis(insertion.positions, 1, 0), strict=True)
    return settle(state, insertion)._replace(
        cache=caches.write_rows(state.cache, new, *where, length - 1),
        tokens=write(state.tokens, insertion.tokens),
        source=write(state.source, insertion.source),
        positions=jnp.stack([write(axis, values) for axis, values in positions]),
        length=state.length.at[where].add(insertion.count, mode="drop"),
        next_position=state.next_position.at[where].set(insertion.next_position, mode="drop"),
        automaton=state.automaton.at[where].set(stops.START, mode="drop"),
    )


def settle(state: DecodeState, insertion: Insertion) -> DecodeState:
    """Gives rows of one part their statuses alone; they have waited long enough."""
    where = jnp.divmod(insertion.row, state.status.shape[1])
    status = state.status.at[where].set(insertion.status, mode="drop")
    return state._replace(status=status, waited=jnp.zeros_like(state.waited))
