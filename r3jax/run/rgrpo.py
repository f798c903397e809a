"""R-GRPO: group-relative policy optimisation over episodes that look again.

    questions -> collect -> score -> pack -> rgrpo_step -> metrics, traces, checkpoint, export

Departures from the published VLM-R3 code: docs/architecture.md.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from r3jax.buckets import Buckets
from r3jax.data import pipelines, traces, vlir
from r3jax.records import ScoredGroup
from r3jax.reward import scoring, stats, terms
from r3jax.reward.alarms import AlarmConfig, Alarms
from r3jax.rollout import engine, programs
from r3jax.run import pretrained, warm
from r3jax.run.session import CheckpointConfig, Session
from r3jax.update import pack, steps
from r3jax.update.state import OptimizerConfig, init_state, is_frozen, make_optimizer

SHOWN = {
    "reward": "reward",
    "accuracy": "acc",
    "looks_per_answer": "looks",
    "tokens_per_s": "tok/s",
}


@dataclasses.dataclass(frozen=True)
class RgrpoRunConfig:
    """R-GRPO of the model directory `model` on the questions of `data`, images under its folder.

    `updates` is how many steps of the optimizer a rollout is used for. `refill` is how many more
    rollouts may be made in a step to replace groups whose rewards are all equal. Questions of a
    batch have the same value of the tag `group_by_tag`, if it is given: episodes that are about as
    long as each other decode and pad better together.
    """

    model: str
    data: str
    buckets: Buckets
    optimizer: OptimizerConfig
    rollout: engine.RolloutConfig
    steps: int
    seed: int = 0
    reward: terms.RewardConfig = terms.RewardConfig()
    loss: steps.RgrpoConfig = steps.RgrpoConfig()
    scale_by_std: bool = True
    updates: int = 1
    refill: int = 0
    group_by_tag: str = ""
    logit_chunk: int = 2048
    remat: str = "none"
    alarms: AlarmConfig = AlarmConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tensorboard: bool = False


@dataclasses.dataclass(frozen=True)
class Learner:
    """The jitted programs of the update.

    `score` scores a batch under `reference`, frozen weights; both are None where there is no KL.
    """

    update: Callable
    score: Callable | None
    reference: Any
    allowed: jax.Array


def run(
    config: RgrpoRunConfig,
    workdir: str | Path,
    title: str = "R-GRPO",
    extra_terms: Sequence[terms.ExtraTerm] = (),
) -> Path:
    """Trains, resuming where a run in `workdir` stopped; returns the exported model directory."""
    start = pretrained.load(config.model)
    pretrained.carry(start, workdir)
    learner, state = _make_learner(config, start)
    eng = engine.make_engine(
        start.model(), start.tokenizer, start.form, config.buckets, config.rollout
    )
    iterator = _questions(config, start)
    watch = Alarms(config.alarms)
    session = Session(workdir, title, config, state, iterator, SHOWN)
    with session as run:
        state = run.state
        _compile(config, eng, learner, state)
        for step in range(run.start, config.steps):
            began = time.monotonic()
            scored = _rollout(config, eng, state.params, iterator, step, extra_terms)
            rolled = time.monotonic()
            state, numbers = _update(config, learner, state, scored, start)
            summary = stats.summarise(scored)
            run.record(step, {**summary, **numbers}, _speeds(scored, began, rolled))
            for message in watch.check(step, summary):
                run.progress.note(message)
            run.save_if_due(step, state)
    return pretrained.save(start, state.params, Path(workdir) / "export")


def _questions(config: RgrpoRunConfig, start: pretrained.Pretrained) -> grain.DatasetIterator:
    rows, _ = vlir.read_rl(config.data, Path(config.data).parent)
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.tags.get(config.group_by_tag, ""), []).append(number)
    alike = tuple(tuple(groups[value]) for value in sorted(groups))
    plan = pipelines.BatchPlan(alike, config.rollout.questions, config.seed)
    bounds = start.form.image_bounds
    return pipelines.stream(plan, lambda i: traces.load_question(rows[i], bounds))


def _make_learner(config: RgrpoRunConfig, start: pretrained.Pretrained):
    model = start.model(remat=config.remat)
    optimizer = make_optimizer(config.optimizer, start.params)
    forward = steps.ForwardConfig(
        temperature=config.rollout.sampling.logp_temperature,
        logit_chunk=config.logit_chunk,
        train_vision=not is_frozen(config.optimizer, "vision"),
    )
    update = functools.partial(steps.rgrpo_step, model, forward, config.loss, optimizer)
    score = reference = None
    if config.loss.kl_coefficient:
        # A copy: the policy's own arrays are given away to the first update.
        reference = jax.tree.map(jnp.copy, start.params)
        score = jax.jit(functools.partial(steps.score, model, forward))
    allowed = jnp.asarray(programs.allowed_tokens(start.tokenizer, model.config.text.vocab_size))
    learner = Learner(jax.jit(update, donate_argnums=0), score, reference, allowed)
    return learner, init_state(start.params, optimizer)


def _compile(config: RgrpoRunConfig, eng: engine.Engine, learner: Learner, state) -> None:
    """Compiles all programs for all buckets: which ones a step needs, its episodes decide."""
    warm.compile_rollout(eng, state.params)
    allowed, rollout = learner.allowed, config.rollout
    for batch in warm.empty_updates(config.buckets, rollout.questions, rollout.episodes):
        logp = jax.ShapeDtypeStruct(batch.suffix.targets.shape, np.float32)
        reference = None
        if learner.score is not None:
            warm.compile_for(learner.score, learner.reference, batch, allowed)
            reference = logp
        for old in (None, logp)[: config.updates]:
            warm.compile_for(learner.update, state, batch, old, reference, allowed)


def _rollout(config, eng, params, iterator, step, extra_terms) -> list[ScoredGroup]:
    """Collects and scores one batch of groups; flat ones are replaced as `refill` allows."""
    questions = next(iterator)
    groups = engine.collect(eng, params, questions, config.seed, step)
    scored = scoring.score(groups, config.reward, extra_terms=extra_terms)
    for extra in range(config.refill):
        flat = [i for i, one in enumerate(scored) if stats.is_flat(one)]
        if not flat:
            break
        first = (extra + 1) * config.rollout.questions
        groups = engine.collect(eng, params, next(iterator), config.seed, step, first)
        fresh = scoring.score(groups, config.reward, extra_terms=extra_terms)
        useful = [one for one in fresh if not stats.is_flat(one)]
        for place, one in zip(flat, useful):
            scored[place] = one
    return scored


def _update(config, learner: Learner, state, scored, start):
    batch = pack.pack_scored(
        scored, config.buckets, start.tokenizer.ids.image_pad, config.scale_by_std
    )
    reference = None
    if learner.score is not None:
        reference = learner.score(learner.reference, batch, learner.allowed).logp
    old = None
    for _ in range(config.updates):
        state, numbers, old = learner.update(state, batch, old, reference, learner.allowed)
    return state, jax.device_get(numbers)


def _speeds(scored, began: float, rolled: float) -> dict[str, float]:
    ended = time.monotonic()
    sampled = sum((e.source == 1).sum() for one in scored for e in one.group.episodes)
    return {
        "rollout_s": rolled - began,
        "update_s": ended - rolled,
        "tokens_per_s": float(sampled) / (ended - began),
    }
