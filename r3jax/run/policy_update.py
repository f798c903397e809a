"""What R-GRPO does with the groups of a step: it scores them under the reference, and learns."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r3jax import hosts, shares
from r3jax import mesh as mesh_lib
from r3jax.model.qwen import Qwen25VL
from r3jax.phases import Phase, span
from r3jax.records import ScoredGroup, Source
from r3jax.run import warm
from r3jax.run.learner import Learner
from r3jax.run.rgrpo_config import RgrpoRunConfig
from r3jax.shares import Share
from r3jax.update import losses, pack
from r3jax.update.state import is_frozen, make_optimizer


@dataclasses.dataclass(frozen=True)
class PolicyUpdate:
    """What updates a policy: `learner` changes the parameters of `model`, `score` scores a batch
    under `reference`, of the parameters those that learn, as they were, in the dtype of
    computation, which `freeze` keeps; these three are None where there is no KL. `allowed` [V] are
    the tokens that may be sampled."""

    model: Qwen25VL
    learner: Learner
    allowed: Any
    freeze: Callable | None = None
    score: Callable | None = None
    reference: Any = None


def make(
    config: RgrpoRunConfig,
    model: Qwen25VL,
    params: dict,
    allowed: Any,
    mesh: Mesh | None,
    share: Share = shares.ALL,
) -> PolicyUpdate:
    """Returns what updates a policy on a mesh, of whose batches this host has a share, given its
    parameters and which tokens it may sample [V], or the shapes of both; the reference is still to
    be frozen."""
    optimizer = make_optimizer(config.optimizer, params)
    forward = losses.ForwardConfig(
        temperature=config.rollout.sampling.logp_temperature,
        logit_chunk=config.logit_chunk,
        train_vision=not is_frozen(config.optimizer, "vision"),
    )
    loss = functools.partial(losses.rgrpo_loss, model, forward, config.loss)
    learner = Learner(loss, optimizer, model.config, mesh, share)
    if not config.loss.kl_coefficient:
        return PolicyUpdate(model, learner, allowed)

    def freeze(params: dict) -> list[jax.Array]:
        # A copy: the policy's own arrays are given away to the first update.
        chosen = optimizer.chosen(params)
        return [jnp.array(leaf, model.dtype, copy=True) for leaf in chosen]

    def score(reference: list[jax.Array], params: dict, *batch) -> losses.forward.TokenScores:
        return losses.score(model, forward, optimizer.merged(reference, params), *batch)

    freeze = jax.jit(freeze, out_shardings=learner.gradient)
    score = jax.jit(mesh_lib.on(mesh, score), out_shardings=learner.groups)
    return PolicyUpdate(model, learner, allowed, freeze, score)


def take_programs(
    config: RgrpoRunConfig, eng: warm.Rollout, learning: PolicyUpdate, state, take: warm.Take
) -> None:
    """Takes the programs of the update."""
    kept, together = None, config.together
    if eng.keep_features:
        kept = jax.ShapeDtypeStruct((eng.model.config.text.hidden_size,), eng.model.dtype)
    shapes, rows = [], learning.learner.rows
    for batch in warm.empty_updates(config.buckets, together, config.rollout.episodes, kept, rows):
        batch = learning.learner.shape_of(batch)
        logp = learning.learner.logp_of(batch)
        reference = None
        if learning.score is not None:
            name = f"reference {warm.update_size(batch)}"
            given = learning.reference, state.params, batch, learning.allowed
            take(name, learning.score, *given)
            reference = logp
        for old in (None, logp)[: config.updates]:
            shapes.append((batch, old, reference, learning.allowed))
    learning.learner.programs(state, config.rollout.questions // together, shapes, take)


def update(config: RgrpoRunConfig, learning: PolicyUpdate, state, scored, start):
    """The `updates` of a step on its groups, of which this host has a share: the state after them,
    their statistics, and where one of these is no number the questions to `suspect`."""
    with span(Phase.DATA):
        learner = learning.learner
        dealt = pack.deal(scored, config.micro_batch // learner.share.count, pack.longest)
        given = config.buckets, start.tokenizer.ids.image_pad, config.scale_by_std, learner.own_rows
        packed = pack.as_one_step([pack.pack_scored(one, *given) for one in dealt], learner.share)
        batches = [learner.place_batch(one) for one in packed]
    reference = old = [None] * len(batches)
    if learning.score is not None:
        with span(Phase.LOG_PROBS) as done:
            under = functools.partial(learning.score, learning.reference, state.params)
            reference = done([under(one, learning.allowed).logp for one in batches])
    for _ in range(config.updates):
        parts = [(*part, learning.allowed) for part in zip(batches, old, reference, strict=True)]
        with span(Phase.UPDATE) as done:
            state, numbers, old = done(learner.update(state, parts))
    numbers = jax.device_get(numbers)
    finite = np.isfinite(list(numbers.values())).all()
    return state, numbers, () if finite else suspect(dealt, old, learner.share)


def suspect(
    dealt: Sequence[Sequence[ScoredGroup]],
    logp: Sequence[jax.Array],
    share: Share = shares.ALL,
) -> tuple[str, ...]:
    """The questions, of all hosts, that have a log-prob that is no number: of micro-batches of this
    host's groups, with the log-probs [B, G, T] of all."""
    bad = [
        one.group.question.id
        for groups, found in zip(dealt, map(shares.whole, logp))
        for one, number in zip(groups, share.of(len(found)), strict=True)
        if not _are_numbers(one, found[number])
    ]
    found = hosts.gather("what is no number", bad)
    return tuple(sorted({name for of_host in found for name in of_host}))


def _are_numbers(scored: ScoredGroup, logp: np.ndarray) -> bool:
    """Whether the log-probs [G, T] of all tokens that a group sampled are numbers."""
    sampled = (episode.source == Source.SAMPLED for episode in scored.group.episodes)
    return all(np.isfinite(row[: len(of)][of]).all() for row, of in zip(logp, sampled))
