"""R-GRPO: group-relative policy optimisation over episodes that look again.

    questions -> collect -> score -> pack -> update -> metrics, checkpoint, report, export

Departures from the published VLM-R3 code: the table in README.md.
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
from jax.sharding import Mesh

from r3jax import mesh as mesh_lib
from r3jax import metrics
from r3jax.buckets import Buckets
from r3jax.data import pipelines, sources, traces, vlir
from r3jax.data.images import ImageSource
from r3jax.mesh import MeshConfig
from r3jax.model.layers import Dtype, Remat
from r3jax.model.qwen import Qwen25VL
from r3jax.phases import Phase, span
from r3jax.reward import scoring, terms
from r3jax.reward.alarms import AlarmConfig, Alarms
from r3jax.rollout import crops, engine, programs
from r3jax.run import origins, pages, pretrained, refill, warm
from r3jax.run.learner import Learner
from r3jax.run.session import CheckpointConfig, Session
from r3jax.update import losses, pack
from r3jax.update.state import OptimizerConfig, is_frozen, make_optimizer

SHOWN = {
    "reward": "reward",
    "accuracy": "acc",
    "looks_per_answer": "looks",
    "tokens_per_s": "tok/s",
}


@dataclasses.dataclass(frozen=True)
class RgrpoRunConfig:
    """R-GRPO of the model directory `model` on the questions of `data`, named as in `sources`.

    `updates` is how many steps of the optimizer a rollout is used for. Each computes on
    `micro_batch` groups at a time (0: all), for less memory; what it learns is the same. `refill`
    is how many more rollouts may be made to replace groups whose rewards are all equal. Questions
    of a batch have the same value of the tag `group_by_tag`, if it is given: episodes about as long
    as each other decode and pad better together. `dtype` is that of computation: weights that learn
    and their moments are float32.

    Raises: ValueError for a number that is too small.
    """

    model: str
    data: str
    buckets: Buckets
    optimizer: OptimizerConfig
    rollout: engine.RolloutConfig
    steps: int
    seed: int = 0
    reward: terms.RewardConfig = terms.RewardConfig()
    loss: losses.RgrpoConfig = losses.RgrpoConfig()
    scale_by_std: bool = True
    updates: int = 1
    micro_batch: int = 0
    refill: int = 0
    group_by_tag: str = ""
    logit_chunk: int = 1024
    dtype: Dtype = "float32"
    remat: Remat = "dots"
    mesh: MeshConfig = MeshConfig()
    alarms: AlarmConfig = AlarmConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tensorboard: bool = False

    def __post_init__(self):
        least = {"steps": 1, "updates": 1, "refill": 0, "logit_chunk": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, found {getattr(self, name)}")
        pack.check_micro_batch(self.micro_batch, self.rollout.questions, "rollout.questions")

    @property
    def together(self) -> int:
        """How many groups an update computes on at a time."""
        return self.micro_batch or self.rollout.questions


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the update runs: `learner` changes the policy, `score` scores a batch under `reference`,
    frozen weights in the dtype of computation, which `freeze` makes; all three are None where there
    is no KL."""

    learner: Learner
    allowed: Any
    freeze: Callable | None = None
    score: Callable | None = None
    reference: Any = None


def run(
    config: RgrpoRunConfig,
    workdir: str | Path,
    title: str = "R-GRPO",
    extra_terms: Sequence[terms.ExtraTerm] = (),
    profile: int | None = None,
) -> Path:
    """Trains, resuming where a run in `workdir` stopped; returns the exported model directory.

    `profile` is how many steps to time (`run/profiler.py`).
    """
    start = pretrained.load(config.model, on_host=True)
    pretrained.carry(start, workdir)
    model = start.model(jnp.dtype(config.dtype), config.remat)
    allowed = programs.allowed_tokens(start.tokenizer, model.config.text.vocab_size)
    mesh = mesh_lib.mesh_of(config.mesh)
    policy = make_policy(config, model, start.params, jnp.asarray(allowed), mesh)
    state = policy.learner.init(start.params)
    start = dataclasses.replace(start, params={})  # so that nobody keeps what it began with
    if policy.freeze is not None:
        policy = dataclasses.replace(policy, reference=policy.freeze(state.params))
    rows = sources.read_rl(config.data)
    shown = [row.image for row in rows]
    _check(config, start, policy.learner, shown)
    shapes = warm.with_originals(config.buckets, crops.way_for(jax.default_backend()), shown)
    frozen = is_frozen(config.optimizer, "vision")
    eng = engine.make_engine(
        model,
        start.tokenizer,
        start.form,
        shapes,
        config.rollout,
        frozen,
        mesh_lib.for_rollouts(mesh, config.rollout.tensor),
    )
    iterator = _questions(config, start, rows)
    score = functools.partial(scoring.score, config=config.reward, extra_terms=extra_terms)
    made_from = origins.fingerprints(config.model, config.data)
    session = Session(workdir, title, config, state, iterator, SHOWN, made_from, profile)
    with session as run:
        state = run.state
        if told := mesh_lib.unused(mesh):
            run.progress.note(told)
        watch = remember(config.alarms, run.workdir)
        if not run.is_done:
            every_program(config, eng, policy, state, warm.compile_for)
        for step in run.steps():
            began = time.monotonic()
            tally = engine.Tally()
            first, scored = refill.collect(
                eng, state.params, iterator, score, config.seed, step, config.refill, tally
            )
            rolled = time.monotonic()
            state, numbers = _update(config, policy, state, scored, start)
            summary = refill.summarise(first, scored)
            messages = watch.check(step, summary)
            numbers = {**summary, **watch.numbers(step), **numbers}
            run.record(step, numbers, _speeds(tally, scored, began, rolled))
            for message in messages:
                run.progress.note(message)
            if run.save_if_due(step, state):
                with span(Phase.CHECKPOINT):
                    _report(config, run.workdir, title, step, first, start)
    return pretrained.save(start, state.params, Path(workdir) / "export")


def _check(config: RgrpoRunConfig, start, learner: Learner, shown: Sequence[ImageSource]) -> None:
    """Raises ValueError where a batch may come that nothing has room for."""
    rows = learner.rows
    warm.check_rows(config.together, rows, "micro_batch" if config.micro_batch else "questions")
    mesh = mesh_lib.for_rollouts(learner.mesh, config.rollout.tensor)
    arriving = config.rollout.arriving // (1 if mesh is None else mesh_lib.shards(mesh))
    warm.check_images(config.buckets, start.form, max(1, arriving), shown)
    if not is_frozen(config.optimizer, "vision"):  # updates encode what they show, row by row
        groups = config.together // rows
        warm.check_images(config.buckets, start.form, groups, shown)
        warm.check_crops(config.buckets, start.form, groups * config.rollout.episodes)


def _report(config: RgrpoRunConfig, workdir: Path, title: str, step: int, scored, start) -> None:
    """Curves so far, and an episode of each of the step's groups."""
    summary = f"{step + 1} of {config.steps} steps from {config.model} on {config.data}"
    pages.write(workdir, title, summary, {title: workdir}, scored, start.tokenizer)


def _questions(config: RgrpoRunConfig, start, rows: Sequence[vlir.RlRow]) -> grain.DatasetIterator:
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.tags.get(config.group_by_tag, ""), []).append(number)
    alike = tuple(tuple(groups[value]) for value in sorted(groups))
    plan = pipelines.BatchPlan(alike, config.rollout.questions, config.seed)
    bounds = start.form.image_bounds
    return pipelines.stream(plan, lambda i: traces.load_question(rows[i], bounds))


def make_policy(
    config: RgrpoRunConfig, model: Qwen25VL, params: dict, allowed: Any, mesh: Mesh | None
) -> Policy:
    """Returns what updates a policy on a mesh, given its parameters and which tokens it may sample
    [V], or the shapes of both; the reference is still to be frozen."""
    optimizer = make_optimizer(config.optimizer, params)
    forward = losses.ForwardConfig(
        temperature=config.rollout.sampling.logp_temperature,
        logit_chunk=config.logit_chunk,
        train_vision=not is_frozen(config.optimizer, "vision"),
    )
    loss = functools.partial(losses.rgrpo_loss, model, forward, config.loss)
    learner = Learner(loss, optimizer, model.config, mesh)
    if not config.loss.kl_coefficient:
        return Policy(learner, allowed)
    # A copy: the policy's own arrays are given away to the first update.
    freeze = jax.jit(functools.partial(_cast, model.dtype), out_shardings=learner.places.params)
    score = mesh_lib.on(mesh, functools.partial(losses.score, model, forward))
    return Policy(learner, allowed, freeze, jax.jit(score, out_shardings=learner.groups))


def _cast(dtype, params: dict) -> dict:
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype, copy=True), params)


def every_program(
    config: RgrpoRunConfig, eng: warm.Rollout, policy: Policy, state, take: warm.Take
) -> None:
    """Takes all programs for all buckets: which ones a step needs, its episodes decide."""
    warm.rollout_programs(eng, state.params, take)
    update_programs(config, eng, policy, state, take)


def update_programs(
    config: RgrpoRunConfig, eng: warm.Rollout, policy: Policy, state, take: warm.Take
) -> None:
    """Takes the programs of the update."""
    kept, together = None, config.together
    if eng.keep_features:
        kept = jax.ShapeDtypeStruct((eng.model.config.text.hidden_size,), eng.model.dtype)
    shapes, rows = [], policy.learner.rows
    for batch in warm.empty_updates(config.buckets, together, config.rollout.episodes, kept, rows):
        batch = policy.learner.shape_of(batch)
        logp = policy.learner.logp_of(batch)
        reference = None
        if policy.score is not None:
            name = f"reference {warm.update_size(batch)}"
            take(name, policy.score, policy.reference, batch, policy.allowed)
            reference = logp
        for old in (None, logp)[: config.updates]:
            shapes.append((batch, old, reference, policy.allowed))
    policy.learner.programs(state, config.rollout.questions // together, shapes, take)


def remember(config: AlarmConfig, workdir: Path) -> Alarms:
    """Returns alarms that have seen the steps in metrics.jsonl, as if the run had never stopped."""
    watch = Alarms(config)
    for line in metrics.read(workdir / metrics.METRICS):
        watch.check(int(line["step"]), line)
    return watch


def _update(config, policy: Policy, state, scored, start):
    with span(Phase.DATA):
        dealt = pack.deal(scored, config.micro_batch, pack.longest)
        image_pad = start.tokenizer.ids.image_pad
        rows = policy.learner.rows
        packed = [
            pack.pack_scored(one, config.buckets, image_pad, config.scale_by_std, rows)
            for one in dealt
        ]
        batches = [policy.learner.place_batch(one) for one in pack.as_one_step(packed)]
    reference = old = [None] * len(batches)
    if policy.score is not None:
        with span(Phase.LOG_PROBS) as done:
            reference = done(
                [policy.score(policy.reference, one, policy.allowed).logp for one in batches]
            )
    for _ in range(config.updates):
        parts = [(*part, policy.allowed) for part in zip(batches, old, reference, strict=True)]
        with span(Phase.UPDATE) as done:
            state, numbers, old = done(policy.learner.update(state, parts))
    return state, jax.device_get(numbers)


def _speeds(tally, scored, began: float, rolled: float) -> dict[str, float]:
    ended = time.monotonic()
    sampled = sum((e.source == 1).sum() for one in scored for e in one.group.episodes)
    return {
        "rollout_s": rolled - began,
        "update_s": ended - rolled,
        "tokens_per_s": float(sampled) / (ended - began),
        "useful_row_steps": tally.useful,
    }
