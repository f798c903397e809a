"""The rows of a rollout on the device, and what happens to them between two calls of decode.

A row is an episode [B, G]. Its slots hold the last prompt token, then the episode. Invariant: every
slot but the last filled one is in the cache; the last filled one is fed next. The G rows of a group
share the prefix of their question; a group whose rows have all stopped gives way to another.
"""

import enum
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Float, Int
from r3jax.model import caches
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.records import Source
from r3jax.rollout import sampling, stops


class Status(enum.IntEnum):
    """What a row is doing."""

    DECODING = 0
    BOX = 1  # closed a box and waits for its crop
    ANSWERED = 2
    ENDED = 3  # sampled an end token
    FULL = 4  # no slot left
    STOPPED = 5  # stopped by the host
    EMPTY = 6  # has no question


class DecodeState(NamedTuple):
    """Everything that a batch of rows is, on the device.

    prefix of each group; keys [B, G] to sample with; cache [B, K, G, S, H] a layer; tokens, source,
    logp [B, G, S] and positions [3, B, G, S] of the slots; length [B, G] filled slots;
    next_position, automaton, status [B, G]; steps: how many were made since the start; waited: for
    how many of them rows have waited for crops since any was served, summed over rows. `asked` is
    there where questions say themselves how their tokens are chosen.
    """

    prefix: caches.Prefix
    keys: Array
    cache: caches.SuffixCache
    tokens: Array
    source: Array
    logp: Array
    positions: Array
    length: Array
    next_position: Array
    automaton: Array
    status: Array
    steps: Array
    waited: Array
    asked: sampling.Asked | None = None


class Arrivals(NamedTuple):
    """Questions for as many groups [A]: the groups' numbers within their part (as many as it has,
    or more: no question), prefixes, last tokens of their prompts with their positions, keys [A, G],
    and how they are `asked`, where questions say that."""

    group: Array
    prefix: caches.Prefix
    last_token: Array
    last_position: Array
    keys: Array
    asked: sampling.Asked | None = None


class Rows(NamedTuple):
    """What hosts read of all rows after a decode call, as in a `DecodeState`: four numbers a row at
    most."""

    length: Array
    next_position: Array
    status: Array
    waited: Array


class Written(NamedTuple):
    """What rows of some groups [A, G] have written, as in a `DecodeState`."""

    tokens: Array
    source: Array
    logp: Array
    positions: Array
    length: Array
    status: Array


RECENT = 1024  # tokens of a waiting row that the host reads, at most: a box has a few dozen


def start(
    config,
    groups: int,
    episodes: int,
    slots: int,
    prompt_tokens: int,
    dtype,
    by_question: bool = False,
) -> DecodeState:
    """Returns the state of rows without questions, which say themselves how they are asked where
    that is `by_question`."""
    rows = (groups, episodes)
    shape = (*rows, slots)
    mask = jnp.zeros((groups, prompt_tokens), bool)
    prompts = caches.empty_prefix(config.text, groups, prompt_tokens, dtype)
    return DecodeState(
        prefix=caches.Prefix(prompts, mask),
        keys=sampling.row_keys(0, 0, jnp.zeros(groups, jnp.int32), episodes),
        cache=caches.empty_cache(config.text, groups, episodes, slots, dtype),
        tokens=jnp.zeros(shape, jnp.int32),
        source=jnp.full(shape, int(Source.FORCED), jnp.int8),
        logp=jnp.zeros(shape, jnp.float32),
        positions=jnp.zeros((3, *shape), jnp.int32),
        length=jnp.ones(rows, jnp.int32),
        next_position=jnp.zeros(rows, jnp.int32),
        automaton=jnp.full(rows, stops.START, jnp.int32),
        status=jnp.full(rows, int(Status.EMPTY), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
        waited=jnp.zeros((), jnp.int32),
        asked=nothing_asked(groups) if by_question else None,
    )


def nothing_asked(groups: int) -> sampling.Asked:
    """What groups without a question ask for."""
    greedy, whole = jnp.zeros(groups, jnp.float32), jnp.ones(groups, jnp.float32)
    return sampling.Asked(greedy, whole, jnp.zeros(groups, jnp.int32))


def admit(state: DecodeState, arrivals: Arrivals) -> DecodeState:
    """Gives groups to other questions: their rows start anew."""
    episodes, slots = state.tokens.shape[1:]
    number = len(arrivals.group)

    def seat(array: Array, values) -> Array:
        return array.at[arrivals.group].set(values, mode="drop")

    def first(values: Array) -> Array:
        """[A] as the first slot of each row, [A, G, S], zeros after it."""
        rows = jnp.broadcast_to(values[:, None, None], (number, episodes, 1))
        return jnp.pad(rows, [(0, 0), (0, 0), (0, slots - 1)])

    positions = first(arrivals.last_position)
    return state._replace(
        prefix=jax.tree.map(seat, state.prefix, arrivals.prefix),
        keys=seat(state.keys, arrivals.keys),
        tokens=seat(state.tokens, first(arrivals.last_token)),
        source=seat(state.source, jnp.int8(Source.FORCED)),
        logp=seat(state.logp, 0.0),
        positions=jnp.stack([seat(axis, positions) for axis in state.positions]),
        length=seat(state.length, 1),
        next_position=seat(state.next_position, arrivals.last_position[:, None] + 1),
        automaton=seat(state.automaton, stops.START),
        status=seat(state.status, int(Status.DECODING)),
        asked=jax.tree.map(seat, state.asked, arrivals.asked),
    )


def embed(
    model: Qwen25VL, policy: Policy, tokens: Array, index: Array, features: Float[Array, "S F D"]
) -> Array:
    """Embeds tokens [B, ...]: `index` says which feature stands instead, in the table of the part
    of the groups, of S equal ones, that a token belongs to (-1: none)."""
    run = functools.partial(model.apply, {"params": policy.params}, method="embed")
    dealt = (y.reshape(len(features), -1, *y.shape[1:]) for y in (tokens, index))
    return jax.vmap(run)(*dealt, features).reshape(*tokens.shape, -1)


def rows(state: DecodeState) -> Rows:
    """Returns what hosts read of all rows."""
    return Rows(*(getattr(state, name) for name in Rows._fields))


def written(state: DecodeState, group: Int[Array, "A"]) -> Written:
    """Returns what the rows of these groups have written."""
    parts = (state.tokens, state.source, state.logp)
    rows = (state.length, state.status)
    tokens, source, logp, length, status = (y.at[group].get(mode="clip") for y in (*parts, *rows))
    positions = state.positions.at[:, group].get(mode="clip")
    return Written(tokens, source, logp, positions, length, status)


def recent(state: DecodeState, row: Int[Array, "X 2"]) -> Int[Array, "X R"]:
    """Returns the last RECENT tokens of rows (or all slots, if there are fewer), zeros before."""
    slots = state.tokens.shape[-1]
    group, episode = jnp.moveaxis(jnp.asarray(row), 1, 0)
    count = min(RECENT, slots)
    index = state.length[group, episode][:, None] - count + jnp.arange(count)[None]
    tokens = jnp.take_along_axis(state.tokens[group, episode], jnp.maximum(index, 0), axis=1)
    return jnp.where(index >= 0, tokens, 0)


def grow(slots: int, state: DecodeState) -> DecodeState:
    """Returns the state with `slots` slots a row, the new ones empty."""

    def pad(array: Array) -> Array:
        more = [(0, 0)] * (array.ndim - 1) + [(0, slots - array.shape[-1])]
        return jnp.pad(array, more)

    return state._replace(
        cache=caches.grow(state.cache, slots),
        tokens=pad(state.tokens),
        source=pad(state.source),
        logp=pad(state.logp),
        positions=pad(state.positions),
    )


def widen(prompt_tokens: int, state: DecodeState) -> DecodeState:
    """Returns the state with room for prompts of so many tokens."""
    layers, mask = state.prefix
    more = prompt_tokens - mask.shape[1]
    wider = jax.tree.map(lambda kept: jnp.pad(kept, [(0, 0), (0, 0), (0, more), (0, 0)]), layers)
    return state._replace(prefix=caches.Prefix(wider, jnp.pad(mask, [(0, 0), (0, more)])))


def at(array: Array, slot: Array) -> Array:
    """array [..., B, G, S] at slot [B, G]."""
    index = jnp.broadcast_to(slot[..., None], (*array.shape[:-1], 1))
    return jnp.take_along_axis(array, index, axis=-1)[..., 0]


def put(array: Array, slot: Array, value: Array, where: Array) -> Array:
    """array [..., B, G, S] with `value` at slot [B, G] of the rows `where` [B, G]."""
    chosen = (jnp.arange(array.shape[-1])[None, None] == slot[..., None]) & where[..., None]
    chosen = jnp.broadcast_to(chosen, array.shape)
    return jnp.where(chosen, jnp.broadcast_to(value[..., None], array.shape), array)
