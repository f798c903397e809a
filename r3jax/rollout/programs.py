"""The jitted programs of a rollout, made once for a model and a way of sampling."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r3jax import mesh as mesh_lib
from r3jax.buckets import Buckets
from r3jax.data.tokenizer import Tokenizer
from r3jax.model import qwen
from r3jax.rollout import decode, placing, sampling, state, stops


@dataclasses.dataclass(frozen=True)
class Programs:
    """What runs on the device.

    policy(params) -> policy; encode(params, images) -> features; prefill(params, prompts, features)
    -> prefix; keys(seed, step, questions) -> [A, G]; start(prompt_tokens) -> state;
    admit(state, arrivals) -> state; decode(policy, state, until) -> state; recent(state, rows) ->
    tokens; append(params, state, insertion, features) -> state; settle(state, status) -> state;
    written(state, groups) -> what their rows have written.

    A state starts with the first of `slots` a row, and `grow[i](state)` takes it from slots[i] to
    slots[i + 1]: short episodes never pay for the memory of long ones. `spare` slots always stay
    behind a row, for what is written there as padding. `widen[tokens](state)` makes room for longer
    prompts.
    """

    slots: tuple[int, ...]
    spare: int

    policy: Callable
    encode: Callable
    prefill: Callable
    keys: Callable
    start: Callable
    admit: Callable
    decode: Callable
    recent: Callable
    append: Callable
    settle: Callable
    written: Callable
    grow: tuple[Callable, ...]
    widen: Mapping[int, Callable]


@dataclasses.dataclass(frozen=True)
class TokenRules:
    """What sampled tokens may be and do.

    `allowed` bool [V] may be sampled, `next_state` int [states, V] are the transitions of the
    automaton of `stops`, `end_tokens` int [E] end an episode.
    """

    allowed: np.ndarray
    next_state: np.ndarray
    end_tokens: np.ndarray


def token_rules(tokenizer: Tokenizer, vocab_size: int) -> TokenRules:
    """Returns the rules of a model with this tokenizer."""
    return TokenRules(
        allowed_tokens(tokenizer, vocab_size),
        stops.build(tokenizer.token_bytes(), vocab_size).next_state,
        np.array([tokenizer.ids.im_end, tokenizer.ids.endoftext]),
    )


def allowed_tokens(tokenizer: Tokenizer, vocab_size: int) -> np.ndarray:
    """Returns bool [V]: what may be sampled. Image and vision tokens and padded rows may not."""
    allowed = np.arange(vocab_size) < tokenizer.vocab_size
    ids = tokenizer.ids
    visual = [ids.vision_start, ids.vision_end, ids.vision_pad, ids.image_pad, ids.video_pad]
    allowed[visual] = False
    return allowed


def make_programs(
    model: qwen.Qwen25VL,
    rules: TokenRules,
    sampling_config: sampling.SamplingConfig,
    groups: int,
    episodes: int,
    buckets: Buckets,
    arriving: int | None = None,
    mesh: Mesh | None = None,
) -> Programs:
    """Returns the programs for `groups` x `episodes` rows of up to the largest bucket of tokens, of
    which `arriving` (default: all) groups come in together.

    On a `mesh` groups are dealt to devices; parameters come as the update has them, `policy` brings
    them where decoding reads them.
    """
    filled = [length + 1 for length in sorted(buckets.suffix_tokens)]  # slot 0: the prompt's last
    spare = max(buckets.look_tokens, decode.BURST)
    slots = tuple(length + spare for length in filled)
    constants = {
        "allowed": jnp.asarray(rules.allowed),
        "stop_table": jnp.asarray(rules.next_state),
        "end_tokens": jnp.asarray(rules.end_tokens),
    }

    run = functools.partial(decode.decode, model, sampling_config, filled[-1], spare=spare)
    places = placing.Places()
    if mesh is not None:
        places = placing.on(model.config, groups, arriving or groups, mesh)
    make = _Maker(mesh, places)
    shape = groups, episodes, slots[0]
    return Programs(
        slots=slots,
        spare=spare,
        policy=make.program(functools.partial(qwen.make_policy, model), places.policy),
        encode=make.program(functools.partial(_encode, model), places.whole),
        prefill=make.program(functools.partial(_prefill, model), places.prefix),
        keys=make.program(functools.partial(sampling.row_keys, episodes=episodes), places.whole),
        start=make.program(
            functools.partial(_start, model, *shape), places.state, static_argnums=0
        ),
        admit=make.update(state.admit),
        decode=make.update(functools.partial(run, **constants), given=1),
        recent=make.program(state.recent, places.whole),
        append=make.update(functools.partial(state.append, model), given=1),
        settle=make.update(state.settle),
        written=make.program(state.written, places.whole),
        grow=tuple(
            make.program(functools.partial(state.grow, larger), places.state)
            for larger in slots[1:]
        ),
        widen={
            tokens: make.program(functools.partial(state.widen, tokens), places.state)
            for tokens in buckets.prompt_tokens
        },
    )


class _Maker(NamedTuple):
    """Jits functions for a mesh, or for one device."""

    mesh: Mesh | None
    places: placing.Places

    def program(self, function: Callable, result, **options) -> Callable:
        """What it returns lies where `result` says."""
        return jax.jit(mesh_lib.on(self.mesh, function), out_shardings=result, **options)

    def update(self, function: Callable, given: int = 0) -> Callable:
        """From a state, the argument `given`, to a state: the memory of the one is the other's."""
        return self.program(function, self.places.state, donate_argnums=given)


def _encode(model: qwen.Qwen25VL, params, images):
    return model.apply({"params": params}, images, method="encode")


def _prefill(model: qwen.Qwen25VL, params, prompt, features):
    index = prompt.feature_index
    x = model.apply({"params": params}, prompt.tokens, index, features, method="embed")
    given = x, prompt.positions, prompt.mask
    return model.apply({"params": params}, *given, method="prefill")[1]


def _start(model: qwen.Qwen25VL, groups: int, episodes: int, slots: int, prompt_tokens: int):
    return state.start(model.config, groups, episodes, slots, prompt_tokens, model.dtype)
