"""The decode program: rows of a batch sample tokens until each has stopped, then the host serves.

A row is an episode [B, G]. Its slots hold the last prompt token, then the episode. Invariant: every
slot but the last filled one is in the cache; the last filled one is fed next.
"""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array
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


KEEP = -1  # in an insertion: the row's status stays

BURST = 32
"""Tokens that rows sample before their keys and values are written to their slots.

Rows differ in length, so that each writes elsewhere: many times dearer than to write the step of
all rows into one place, which is what a burst does.
"""


class DecodeState(NamedTuple):
    """Everything that a batch of rows is, on the device.

    cache [B, K, G, S, H] a layer; tokens, source, logp [B, G, S] and positions [3, B, G, S] of the
    slots; length [B, G] filled slots; next_position, automaton, status [B, G].
    """

    cache: caches.SuffixCache
    tokens: Array
    source: Array
    logp: Array
    positions: Array
    length: Array
    next_position: Array
    automaton: Array
    status: Array


class Insertion(NamedTuple):
    """What the host adds to waiting rows: tokens, source, feature_index [B, G, T], positions
    [3, B, G, T], count [B, G] (0: nothing), next_position [B, G] after it, status [B, G] after it
    (KEEP where the row is not concerned).
    """

    tokens: Array
    source: Array
    positions: Array
    feature_index: Array
    count: Array
    next_position: Array
    status: Array


def start(
    config,
    last_token: Array,
    last_position: Array,
    episodes: int,
    slots: int,
    active: Array,
    dtype,
) -> DecodeState:
    """Returns the state of fresh rows; `last_token`, `last_position`, `active` are [B]."""
    B = last_token.shape[0]
    shape = (B, episodes, slots)

    def per_row(x):
        return jnp.broadcast_to(x[:, None], (B, episodes)).astype(jnp.int32)

    status = jnp.where(active, int(Status.DECODING), int(Status.STOPPED))

    return DecodeState(
        cache=caches.empty_cache(config.text, B, episodes, slots, dtype),
        tokens=jnp.zeros(shape, jnp.int32).at[..., 0].set(per_row(last_token)),
        source=jnp.full(shape, int(Source.FORCED), jnp.int8),
        logp=jnp.zeros(shape, jnp.float32),
        positions=jnp.zeros((3, *shape), jnp.int32).at[..., 0].set(per_row(last_position)[None]),
        length=jnp.ones((B, episodes), jnp.int32),
        next_position=per_row(last_position + 1),
        automaton=jnp.full((B, episodes), stops.START, jnp.int32),
        status=per_row(status),  # an int32 that JAX will not take for a Python number's
    )


def _at(array: Array, slot: Array) -> Array:
    """array [..., B, G, S] at slot [B, G]."""
    index = jnp.broadcast_to(slot[..., None], (*array.shape[:-1], 1))
    return jnp.take_along_axis(array, index, axis=-1)[..., 0]


def _put(array: Array, slot: Array, value: Array, where: Array) -> Array:
    """array [..., B, G, S] with `value` at slot [B, G] of the rows `where` [B, G]."""
    chosen = (jnp.arange(array.shape[-1])[None, None] == slot[..., None]) & where[..., None]
    chosen = jnp.broadcast_to(chosen, array.shape)
    return jnp.where(chosen, jnp.broadcast_to(value[..., None], array.shape), array)


def _put_many(array: Array, slot: Array, values: Array, count: Array) -> Array:
    """array [..., B, G, S] with `count` [B, G] of `values` [..., B, G, T] from `slot` [B, G] on."""
    place = jnp.arange(array.shape[-1])[None, None] - slot[..., None]
    index = jnp.broadcast_to(jnp.clip(place, 0, values.shape[-1] - 1), array.shape)
    inside = jnp.broadcast_to((place >= 0) & (place < count[..., None]), array.shape)
    return jnp.where(inside, jnp.take_along_axis(values, index, axis=-1), array)


def decode_until_stopped(
    model: Qwen25VL,
    sampling_config: sampling.SamplingConfig,
    budget: int,
    policy: Policy,
    prefix: caches.Prefix,
    state: DecodeState,
    keys: Array,
    allowed: Array,
    stop_table: Array,
    end_tokens: Array,
    spare: int = BURST,
) -> DecodeState:
    """Samples until no row is DECODING, or one has only `spare` slots left and the state must grow.

    `keys` [B, G]; rows never fill more than `budget` slots. `spare` is at least BURST: so many
    slots are written behind a row, whether it filled them or not.
    """
    B, G = state.status.shape
    room = state.tokens.shape[-1] - spare
    rules = budget, stop_table, end_tokens
    variables = {"params": policy.params}

    def can_go_on(state: DecodeState) -> Array:
        decoding = state.status == Status.DECODING
        return decoding.any() & ~(decoding & (state.length >= room)).any()

    def burst(state: DecodeState) -> DecodeState:
        start = state.length - 1
        steps = caches.empty_cache(model.config.text, B, G, BURST, model.dtype)

        def step(carry):
            number, steps, state = carry
            last = state.length - 1
            x = model.apply(variables, _at(state.tokens, last)[..., None], method="embed")
            where = _at(state.positions, last)[..., None]
            hidden, steps = model.apply(
                variables,
                *(x, where, policy.layers, prefix, state.cache, start, steps, number),
                method="step",
            )
            logits = model.apply(variables, hidden[:, :, 0], method="logits")
            now = jax.vmap(jax.vmap(jax.random.fold_in))(keys, state.length).reshape(B * G)
            flat = logits.reshape(B * G, -1)
            sampled = sampling.sample(flat, allowed, now, sampling_config)
            state = _take(state, *(y.reshape(B, G) for y in sampled), *rules)
            return number + 1, steps, state

        def goes_on(carry):
            number, _, state = carry
            return (number < BURST) & can_go_on(state)

        _, steps, state = jax.lax.while_loop(goes_on, step, (0, steps, state))
        return state._replace(cache=caches.append(state.cache, steps, start))

    return jax.lax.while_loop(can_go_on, burst, state)


def _take(
    state: DecodeState,
    token: Array,
    logp: Array,
    budget: int,
    stop_table: Array,
    end_tokens: Array,
) -> DecodeState:
    """The state after each row that is DECODING took its `token` [B, G], sampled at `logp`."""
    going = state.status == Status.DECODING
    slot = state.length
    automaton = jnp.where(going, stop_table[state.automaton, token], state.automaton)
    length = slot + going
    status = jnp.where(length >= budget, int(Status.FULL), int(Status.DECODING))
    ended = jnp.isin(token, end_tokens)
    status = jnp.where(ended, int(Status.ENDED), status)
    status = jnp.where(automaton == stops.BOX_CLOSED, int(Status.BOX), status)
    status = jnp.where(automaton == stops.ANSWER_CLOSED, int(Status.ANSWERED), status)
    return DecodeState(
        cache=state.cache,
        tokens=_put(state.tokens, slot, token, going),
        source=_put(state.source, slot, jnp.full_like(token, Source.SAMPLED, jnp.int8), going),
        logp=_put(state.logp, slot, logp, going),
        positions=_put(state.positions, slot, state.next_position, going),
        length=length,
        next_position=state.next_position + going,
        automaton=automaton.astype(jnp.int32),
        status=jnp.where(going, status, state.status),
    )


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


def append(
    model: Qwen25VL,
    params,
    prefix: caches.Prefix,
    state: DecodeState,
    insertion: Insertion,
    features: Array,
) -> DecodeState:
    """Feeds what the host inserts after each waiting row, all but its last token, to the cache."""
    last = state.length - 1
    # The row's last sampled token has not been fed yet: it leads, the last inserted one waits.
    lead = _at(state.tokens, last)[..., None]
    tokens = jnp.concatenate([lead, insertion.tokens[..., :-1]], axis=-1)
    no_feature = jnp.full_like(lead, -1)
    index = jnp.concatenate([no_feature, insertion.feature_index[..., :-1]], axis=-1)
    lead_position = _at(state.positions, last)[..., None]
    positions = jnp.concatenate([lead_position, insertion.positions[..., :-1]], axis=-1)
    x = model.apply({"params": params}, tokens, index, features, method="embed")
    _, kv = model.apply(
        {"params": params},
        x,
        positions,
        prefix=prefix,
        cache=state.cache,
        start=last,
        method="decode",
    )
    waiting = insertion.count > 0

    def put(array: Array, values: Array) -> Array:
        return _put_many(array, state.length, values.astype(array.dtype), insertion.count)

    return state._replace(
        cache=caches.append(state.cache, kv, last),
        tokens=put(state.tokens, insertion.tokens),
        source=put(state.source, insertion.source),
        positions=put(state.positions, insertion.positions),
        length=state.length + insertion.count,
        next_position=jnp.where(waiting, insertion.next_position, state.next_position),
        automaton=jnp.where(waiting, stops.START, state.automaton),
        status=_settled(state.status, insertion.status),
    )


def settle(state: DecodeState, status: Array) -> DecodeState:
    """Returns the state with other statuses [B, G], where rows get nothing to read."""
    return state._replace(status=_settled(state.status, status))


def _settled(old: Array, new: Array) -> Array:
    return jnp.where(new == KEEP, old, new)
