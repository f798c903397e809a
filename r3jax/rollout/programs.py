"""The jitted programs of a rollout, made once for a model and a way of sampling."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from r3jax import mesh as mesh_lib
from r3jax import shares
from r3jax.buckets import Buckets
from r3jax.data.tokenizer import Tokenizer
from r3jax.kernels import region
from r3jax.model import qwen
from r3jax.rollout import crops, decode, insertion, placing, sampling, state, stops
from r3jax.shares import Share

# Rows of a cache come in whole tiles of a TPU's memory: otherwise it is laid out in another way
# than it is computed with, and every burst of decoding copies it there and back.
TILE = 16


@dataclasses.dataclass(frozen=True)
class Programs:
    """What runs on the device.

    policy(params) -> policy, which the others read; encode(policy, images) -> features;
    prefill(policy, prompts, features) -> prefix; keys(seed, step, questions) -> [A, G];
    start(prompt_tokens) -> state; admit(state, arrivals) -> state; decode(policy, state, until) ->
    state; rows(state) -> what the host knows of rows; recent(state, rows) -> tokens;
    append(policy, state, insertion, features) -> state;
    settle(state, insertion) -> state; written(state, groups) -> what their rows have written;
    room(shape) -> planes; put(planes, places, picture) -> planes; cut(planes, regions, slots,
    backend) -> images.

    Groups, questions that come in, images and crops are dealt to devices in so many equal `parts`:
    a part's images and features are its own, and numbered within it. A host brings what is of its
    `share` of the parts, as `places` say.

    A state starts with the first of `slots` a row, and `grow[i](state)` takes it from slots[i] to
    slots[i + 1]: short episodes never pay for the memory of long ones. `spare` slots always stay
    behind a row, for what is written there as padding. `widen[tokens](state)` makes room for longer
    prompts.
    """

    slots: tuple[int, ...]
    spare: int
    groups: int
    parts: int
    places: placing.Places
    share: Share

    policy: Callable
    encode: Callable
    prefill: Callable
    keys: Callable
    start: Callable
    admit: Callable
    decode: Callable
    rows: Callable
    recent: Callable
    append: Callable
    settle: Callable
    written: Callable
    room: Callable
    put: Callable
    cut: Callable
    grow: tuple[Callable, ...]
    widen: Mapping[int, Callable]

    def part_of(self, group: int) -> tuple[int, int]:
        """The part that a group belongs to, and its number within that part."""
        return divmod(group, self.groups // self.parts)

    def place(self, arrays: Any) -> Any:
        """Arrays whose rows are of this host's parts, one after the other, where programs expect
        them."""
        return shares.deal(arrays, self.places.dealt, self.share)


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
    share: Share = shares.ALL,
    by_question: bool = False,
) -> Programs:
    """Returns the programs for `groups` x `episodes` rows of up to the largest bucket of tokens, of
    which `arriving` (default: all) groups come in together.

    On a `mesh` groups are dealt to devices; parameters come as the update has them, `policy` brings
    them where rollouts read them. With `by_question` questions say how their tokens are chosen, and
    not the config.

    Raises: ValueError where groups cannot be dealt evenly.
    """
    spare = max(buckets.look_tokens, decode.BURST)
    budget, slots = _slots(buckets, spare)
    places, parts = _places(model, groups, arriving or groups, mesh)
    make, rows, dealt = _Maker(mesh, places), places.state, places.dealt
    take = make.by_part(insertion.take, rows, dealt, result=places.taken)
    put = make.by_part(insertion.put, rows, dealt, places.new, result=rows)
    sample = _sampler(model, rules, sampling_config, budget, parts, spare)
    start = functools.partial(_start, model, groups, episodes, slots[0], by_question)
    return Programs(
        slots=slots,
        spare=spare,
        groups=groups,
        parts=parts,
        places=places,
        share=share,
        policy=jax.jit(functools.partial(qwen.make_policy, model), out_shardings=places.policy),
        encode=make.program(functools.partial(_encode, model, parts), dealt),
        prefill=make.program(functools.partial(_prefill, model), places.prefix),
        keys=make.program(functools.partial(sampling.row_keys, episodes=episodes), places.whole),
        start=make.to_state(start, static_argnums=0),
        admit=make.update(make.by_part(state.admit, rows, places.arrivals, result=rows)),
        decode=make.update(sample, given=1),
        rows=make.program(state.rows, places.whole),
        recent=make.program(state.recent, places.whole),
        append=make.update(functools.partial(insertion.append, model, take, put), given=1),
        settle=make.update(make.by_part(insertion.settle, rows, dealt, result=rows)),
        written=make.program(state.written, places.whole),
        room=jax.jit(crops.empty, static_argnums=0, out_shardings=dealt),
        put=make.program(
            make.by_part(crops.write, dealt, dealt, dealt, result=dealt), dealt, donate_argnums=0
        ),
        cut=make.program(region.cut_regions, dealt, static_argnums=(2, 3)),
        grow=tuple(make.to_state(functools.partial(state.grow, larger)) for larger in slots[1:]),
        widen={
            tokens: make.to_state(functools.partial(state.widen, tokens))
            for tokens in buckets.prompt_tokens
        },
    )


def _places(
    model: qwen.Qwen25VL, groups: int, arriving: int, mesh: Mesh | None
) -> tuple[placing.Places, int]:
    """Where arrays lie, and how many parts groups are dealt to."""
    if mesh is None:
        return placing.Places(), 1
    parts = mesh_lib.shards(mesh)
    _check_dealt(groups, arriving, parts)
    return placing.on(model.config, groups, arriving, mesh), parts


def _slots(buckets: Buckets, spare: int) -> tuple[int, tuple[int, ...]]:
    """How many slots a row may fill, and how many it may have, with so many to spare."""
    filled = [length + 1 for length in buckets.suffix_tokens]  # slot 0: the prompt's last token
    tiles = {math.ceil((length + spare) / TILE) for length in filled}
    return max(filled), tuple(TILE * count for count in sorted(tiles))


def _sampler(
    model: qwen.Qwen25VL,
    rules: TokenRules,
    sampling_config: sampling.SamplingConfig,
    budget: int,
    parts: int,
    spare: int,
) -> Callable:
    """`decode.decode`, but for a policy, a state and until when."""
    return functools.partial(
        decode.decode,
        model,
        sampling_config,
        budget,
        parts,
        allowed=rules.allowed,
        stop_table=rules.next_state,
        end_tokens=rules.end_tokens,
        spare=spare,
    )


def _check_dealt(groups: int, arriving: int, shards: int) -> None:
    for name, number in (("questions", groups), ("exchange", arriving)):
        if number % shards:
            raise ValueError(
                f"rollout.{name} is {number}, but rollouts deal groups to {shards} parts of the "
                "mesh: choose a multiple of that, or a larger rollout.tensor"
            )


class _Maker(NamedTuple):
    """Jits functions for a mesh, or for one device."""

    mesh: Mesh | None
    places: placing.Places

    def program(self, function: Callable, result, **options) -> Callable:
        """What it returns lies where `result` says."""
        return jax.jit(mesh_lib.on(self.mesh, function), out_shardings=result, **options)

    def by_part(self, function: Callable, *given, result) -> Callable:
        """From what lies as `given` to what lies as the `result`: each device has what it needs of
        it, and computes on that alone."""
        if self.mesh is None:
            return function
        given, result = jax.tree.map(lambda where: where.spec, (given, result))
        return jax.shard_map(function, mesh=self.mesh, in_specs=given, out_specs=result)

    def to_state(self, function: Callable, **options) -> Callable:
        """What it returns is a state."""
        return self.program(function, self.places.state, **options)

    def update(self, function: Callable, given: int = 0) -> Callable:
        """From a state, the argument `given`, to a state: the memory of the one is the other's."""
        return self.to_state(function, donate_argnums=given)


def _encode(model: qwen.Qwen25VL, parts: int, policy: qwen.Policy, images):
    """Features [parts, F, D] of images whose rows are dealt to so many parts."""
    features = model.apply({"params": policy.params}, images, method="encode")
    return features.reshape(parts, -1, features.shape[-1])


def _prefill(model: qwen.Qwen25VL, policy: qwen.Policy, prompt, features):
    x = state.embed(model, policy, prompt.tokens, prompt.feature_index, features)
    given = x, prompt.positions, policy.layers, prompt.mask
    return model.apply({"params": policy.params}, *given, method="prefill")[1]


def _start(
    model: qwen.Qwen25VL,
    groups: int,
    episodes: int,
    slots: int,
    by_question: bool,
    prompt_tokens: int,
):
    shape = groups, episodes, slots, prompt_tokens
    return state.start(model.config, *shape, model.dtype, by_question)
