"""The decode program: rows of a batch sample tokens until the host has something to do for them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array
from r3jax.model import caches
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.records import Source
from r3jax.rollout import sampling, stops
from r3jax.rollout.state import DecodeState, Status, at, put

BURST = 32
"""Tokens that rows sample before their keys and values are written to their slots.

Rows differ in length, so that each writes elsewhere: many times dearer than to write the step of
all rows into one place, which is what a burst does.
"""


class Until(NamedTuple):
    """When decoding returns, int32 each: after so many `steps`; when rows have `waited` for crops
    so many steps, summed over rows; when so many groups of each part have `finished`."""

    steps: Array
    waited: Array
    finished: Array


FOREVER = 2**31 - 1  # in an `Until`: never for this reason


def decode(
    model: Qwen25VL,
    sampling_config: sampling.SamplingConfig,
    budget: int,
    parts: int,
    policy: Policy,
    state: DecodeState,
    until: Until,
    allowed: Array,
    stop_table: Array,
    end_tokens: Array,
    spare: int = BURST,
) -> DecodeState:
    """Samples until no row is DECODING, one has only `spare` slots left and the state must grow, or
    it is time for what `until` names.

    Groups are dealt to so many equal `parts`. Rows never fill more than `budget` slots. `spare` is
    at least BURST: so many slots are written behind a row, whether it filled them or not. Where the
    state says how questions are `asked`, that takes the place of the config and may narrow the
    budget.
    """
    B, G = state.status.shape
    room = state.tokens.shape[-1] - spare
    last_step = state.steps + jnp.minimum(until.steps, FOREVER - state.steps)

    def can_go_on(state: DecodeState) -> Array:
        decoding = state.status == Status.DECODING
        finished = (state.status > Status.BOX) & (state.status < Status.EMPTY)
        is_time = (
            (state.steps >= last_step)
            | (state.waited >= until.waited)
            | (finished.all(axis=1).reshape(parts, -1).sum(1).min() >= until.finished)
        )
        return decoding.any() & ~(decoding & (state.length >= room)).any() & ~is_time

    def burst(state: DecodeState) -> DecodeState:
        start = state.length - 1
        recent = caches.empty_cache(model.config.text, B, G, BURST, model.dtype)

        def step(carry):
            number, recent, state = carry
            logits, recent = _next_logits(model, policy, state, start, recent, number)
            token, logp = _sample(state, logits, allowed, sampling_config)
            most = _budget(state, budget)
            return number + 1, recent, _take(state, token, logp, most, stop_table, end_tokens)

        def goes_on(carry):
            number, _, state = carry
            return (number < BURST) & can_go_on(state)

        _, recent, state = jax.lax.while_loop(goes_on, step, (0, recent, state))
        return state._replace(cache=caches.append(state.cache, recent, start))

    return jax.lax.while_loop(can_go_on, burst, state)


def _next_logits(
    model: Qwen25VL,
    policy: Policy,
    state: DecodeState,
    start: Array,
    recent: caches.SuffixCache,
    number: Array,
) -> tuple[Array, caches.SuffixCache]:
    """Feeds each row's last token, the `number`-th of a burst from slot `start` [B, G] on: logits
    [B, G, V], and the burst's keys and values with the token's."""
    variables, last = {"params": policy.params}, state.length - 1
    x = model.apply(variables, at(state.tokens, last)[..., None], method="embed")
    where = at(state.positions, last)[..., None]
    seen = (policy.layers, state.prefix, state.cache, start, recent, number)
    hidden, recent = model.apply(variables, x, where, *seen, method="step")
    return model.apply(variables, hidden[:, :, 0], method="logits"), recent


def _sample(
    state: DecodeState, logits: Array, allowed: Array, config: sampling.SamplingConfig
) -> tuple[Array, Array]:
    """A token of each row and its log-prob, [B, G], chosen as its question asks, or the config."""
    B, G = state.status.shape
    keys = jax.vmap(jax.vmap(jax.random.fold_in))(state.keys, state.length)
    flat, keys = logits.reshape(B * G, -1), keys.reshape(B * G)
    if (asked := state.asked) is None:
        sampled = sampling.sample(flat, allowed, keys, config)
    else:
        # What a row asked that has stopped costs nothing any more.
        going = (state.status == Status.DECODING).reshape(-1)
        temperature = jnp.where(going, jnp.repeat(asked.temperature, G), 0.0)
        top_p = jnp.where(going, jnp.repeat(asked.top_p, G), 1.0)
        sampled = sampling.sample_asked(flat, allowed, keys, temperature, top_p)
    token, logp = (y.reshape(B, G) for y in sampled)
    return token, logp


def _budget(state: DecodeState, budget: int) -> int | Array:
    """How many slots rows may fill: all as many, or those of a question, [B, 1]."""
    return budget if state.asked is None else jnp.minimum(state.asked.budget, budget)[:, None]


def _take(
    state: DecodeState,
    token: Array,
    logp: Array,
    budget: int | Array,
    stop_table: Array,
    end_tokens: Array,
) -> DecodeState:
    """The state after each row that is DECODING took its `token` [B, G], sampled at `logp`; it
    fills up to `budget` slots, of all rows or of each group [B, 1]."""
    going = state.status == Status.DECODING
    slot = state.length
    automaton = jnp.where(going, jnp.asarray(stop_table)[state.automaton, token], state.automaton)
    length = slot + going
    status = jnp.where(length >= budget, int(Status.FULL), int(Status.DECODING))
    ended = jnp.isin(token, end_tokens)
    status = jnp.where(ended, int(Status.ENDED), status)
    status = jnp.where(automaton == stops.BOX_CLOSED, int(Status.BOX), status)
    status = jnp.where(automaton == stops.ANSWER_CLOSED, int(Status.ANSWERED), status)
    return state._replace(
        tokens=put(state.tokens, slot, token, going),
        source=put(state.source, slot, jnp.full_like(token, Source.SAMPLED, jnp.int8), going),
        logp=put(state.logp, slot, logp, going),
        positions=put(state.positions, slot, state.next_position, going),
        length=length,
        next_position=state.next_position + going,
        automaton=automaton.astype(jnp.int32),
        status=jnp.where(going, status, state.status),
        steps=state.steps + 1,
        waited=state.waited + (state.status == Status.BOX).sum(),
    )
