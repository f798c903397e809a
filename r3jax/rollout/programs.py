"""The jitted programs of a rollout, made once for a model and a way of sampling."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.data.tokenizer import Tokenizer
from r3jax.model import qwen
from r3jax.rollout import decode, sampling, stops


@dataclasses.dataclass(frozen=True)
class Programs:
    """What runs on the device.

    policy(params) -> policy; encode(params, images) -> features; prefill(params, prompt, features)
    -> prefix; start(last_token, last_position, active) -> state; keys(seed, step, questions) ->
    [B, G]; decode(policy, prefix, state, keys) -> state; append(params, prefix, state, insertion,
    features) -> state; settle(state, status) -> state. A state starts with the first of `slots` and
    `grow[i](state)` takes it from slots[i] to slots[i + 1]: short episodes never pay for the memory
    of long ones. `spare` slots always stay behind a row, for what is written there as padding.
    """

    slots: tuple[int, ...]
    spare: int

    policy: Callable
    encode: Callable
    prefill: Callable
    start: Callable
    keys: Callable
    decode: Callable
    append: Callable
    settle: Callable
    grow: tuple[Callable, ...]


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
    episodes: int,
    lengths: Sequence[int],
    look_tokens: int,
) -> Programs:
    """Returns the programs for groups of `episodes` rows of up to the largest of `lengths` tokens.

    `look_tokens` is what a padded insertion may reach beyond a length.
    """
    filled = [length + 1 for length in sorted(lengths)]  # slot 0 is the last prompt token
    spare = max(look_tokens, decode.BURST)
    slots = tuple(length + spare for length in filled)
    constants = {
        "allowed": jnp.asarray(rules.allowed),
        "stop_table": jnp.asarray(rules.next_state),
        "end_tokens": jnp.asarray(rules.end_tokens),
    }

    def encode(params, images):
        return model.apply({"params": params}, images, method="encode")

    def prefill(params, prompt, features):
        index = prompt.feature_index
        x = model.apply({"params": params}, prompt.tokens, index, features, method="embed")
        args = (x, prompt.positions, prompt.mask)
        return model.apply({"params": params}, *args, method="prefill")[1]

    def start(last_token, last_position, active):
        return decode.start(
            model.config, last_token, last_position, episodes, slots[0], active, model.dtype
        )

    run = functools.partial(
        decode.decode_until_stopped, model, sampling_config, filled[-1], spare=spare
    )
    append = functools.partial(decode.append, model)
    return Programs(
        slots=slots,
        spare=spare,
        policy=jax.jit(functools.partial(qwen.make_policy, model)),
        encode=jax.jit(encode),
        prefill=jax.jit(prefill),
        start=jax.jit(start),
        keys=jax.jit(functools.partial(sampling.row_keys, episodes=episodes)),
        decode=jax.jit(functools.partial(run, **constants), donate_argnums=2),
        append=jax.jit(append, donate_argnums=2),
        settle=jax.jit(decode.settle, donate_argnums=0),
        grow=tuple(jax.jit(functools.partial(decode.grow, larger)) for larger in slots[1:]),
    )
