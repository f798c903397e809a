"""R-GRPO: group-relative policy optimisation over episodes that look again.

    questions -> collect -> score -> pack -> update -> metrics, checkpoint, report, export

Departures from the published VLM-R3 code: the table in README.md.
"""

import dataclasses
import functools
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r3jax import hosts, metrics, paths, shares
from r3jax import mesh as mesh_lib
from r3jax.data import image_sizes, pipelines, sources, traces, vlir
from r3jax.phases import Phase, span
from r3jax.reward import scoring, terms
from r3jax.reward.alarms import AlarmConfig, Alarms
from r3jax.reward.endpoint_judge import EndpointJudge
from r3jax.rollout import crops, engine, programs, weights
from r3jax.run import origins, pages, policy_update, pretrained, refill, warm
from r3jax.run.learner import Learner
from r3jax.run.policy_update import PolicyUpdate
from r3jax.run.rgrpo_config import RgrpoRunConfig
from r3jax.run.session import Session
from r3jax.shares import Share
from r3jax.update.state import is_frozen

SHOWN = {
    "reward": "reward",
    "accuracy": "acc",
    "looks_per_answer": "looks",
    "tokens_per_s": "tok/s",
}


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
    mesh = mesh_lib.mesh_of(config.mesh)
    rolling = mesh_lib.for_rollouts(mesh, config.rollout.tensor)
    share = shares.of_host(mesh, rolling)
    start, learning, state = _begin(config, workdir, mesh, share)
    rows = sources.read_rl(config.data)
    hosts.goes_on("reading the sizes of images")
    sizes = image_sizes.read_sizes(row.image for row in rows).values()
    eng = _make_engine(config, start, learning, rolling, sizes)
    lending = weights.weights_of(eng.programs, eng.model.config, eng.model.dtype)
    iterator = _questions(config, start, rows, share)
    made_from = origins.fingerprints(config.model, config.data, config.adapters)
    session = Session(workdir, title, config, state, iterator, SHOWN, made_from, profile)
    with session as run:
        state = run.state
        if told := mesh_lib.unused(mesh):
            run.progress.note(told)
        watch, judge = remember(config.alarms, run.workdir), _judge(config, run)
        rewards = {"config": config.reward, "judge": judge, "extra_terms": extra_terms}
        score = functools.partial(scoring.score, **rewards)
        if not run.is_done:
            every_program(config, eng, lending, learning, state, warm.compile_for)
        for step in run.steps():
            began = time.monotonic()
            tally = engine.Tally()
            with span(Phase.PREFILL) as done:
                policy = done(lending.to_rollout(state.params))
            first, scored = refill.collect(
                eng, policy, iterator, score, config.seed, step, config.refill, tally
            )
            with span(Phase.PREFILL):  # weights are arranged, as before the rollout
                state = state._replace(params=lending.to_update(policy, state.params))
            del policy  # an update needs the memory
            rolled = time.monotonic()
            state, numbers, suspects = policy_update.update(config, learning, state, scored, start)
            summary = refill.summarise(first, scored, share) | _judge_numbers(judge)
            messages = watch.check(step, summary)
            numbers = {**summary, **watch.numbers(step), **numbers}
            run.record(step, numbers, _speeds(tally, began, rolled), suspects)
            for message in messages:
                run.progress.note(message)
            if run.save_if_due(step, state):
                with span(Phase.CHECKPOINT):
                    _report(config, run.workdir, title, step, first, start)
    return pretrained.save(start, state.params, paths.of(workdir) / "export")


def every_program(
    config: RgrpoRunConfig,
    eng: warm.Rollout,
    lending: weights.Weights,
    learning: PolicyUpdate,
    state,
    take: warm.Take,
) -> None:
    """Takes all programs for all buckets: which ones a step needs, its episodes decide."""
    warm.rollout_programs(eng, lending.programs(state.params, take), take)
    policy_update.take_programs(config, eng, learning, state, take)


def _begin(config: RgrpoRunConfig, workdir: str | Path, mesh: Mesh | None, share: Share):
    """The model, whose weights nobody keeps as they were; what updates it; the state before it."""
    given = config.lora, config.adapters, config.dtype, config.seed
    start = pretrained.load_to_train(config.model, *given)
    pretrained.carry(start, workdir)
    model = start.model(jnp.dtype(config.dtype), config.remat)
    allowed = programs.allowed_tokens(start.tokenizer, model.config.text.vocab_size)
    learning = policy_update.make(config, model, start.params, allowed, mesh, share)
    state = learning.learner.init(start.params)
    if learning.freeze is not None:
        learning = dataclasses.replace(learning, reference=learning.freeze(state.params))
    return dataclasses.replace(start, params={}), learning, state


def _make_engine(
    config: RgrpoRunConfig,
    start,
    learning: PolicyUpdate,
    mesh: Mesh | None,
    sizes: Collection[tuple[int, int]],
) -> engine.Engine:
    """What rolls out questions about images of these sizes, all of which fit, on a mesh."""
    _check(config, start, learning.learner, 1 if mesh is None else mesh_lib.shards(mesh), sizes)
    shapes = warm.with_originals(config.buckets, crops.way_for(jax.default_backend()), sizes)
    frozen = is_frozen(config.optimizer, "vision")
    given = start.tokenizer, start.form, shapes, config.rollout
    dealt = {"mesh": mesh, "share": learning.learner.share}
    return engine.make_engine(learning.model, *given, keep_features=frozen, **dealt)


def _check(
    config: RgrpoRunConfig,
    start,
    learner: Learner,
    parts: int,
    sizes: Collection[tuple[int, int]],
) -> None:
    """Raises ValueError where a batch may come that nothing has room for; groups of rollouts are
    dealt to so many `parts`."""
    rows = learner.rows
    warm.check_rows(config.together, rows, "micro_batch" if config.micro_batch else "questions")
    arriving = max(1, config.rollout.arriving // parts)
    warm.check_images(config.buckets, start.form, arriving, sizes)
    if not is_frozen(config.optimizer, "vision"):  # updates encode what they show, row by row
        groups = config.together // rows
        warm.check_images(config.buckets, start.form, groups, sizes)
        warm.check_crops(config.buckets, start.form, groups * config.rollout.episodes)


def _judge(config: RgrpoRunConfig, run: Session) -> EndpointJudge | None:
    """The judge of a run. What it says is kept on this machine: in the file that is named, or in
    the workdir, unless that is in a bucket; of several hosts each has a file of its own."""
    if config.judge is None:
        return None
    asked = config.judge.endpoint
    kept = asked.kept or ("" if paths.in_bucket(run.workdir) else str(run.workdir / "judge.sqlite"))
    if kept and jax.process_count() > 1:
        kept += f"-{jax.process_index()}"

    def stops() -> bool:
        hosts.goes_on("waiting for the judge")
        return run.is_stopping

    configured = dataclasses.replace(config.judge, endpoint=dataclasses.replace(asked, kept=kept))
    return EndpointJudge(configured, run.progress.note, stops)


def _judge_numbers(judge: EndpointJudge | None) -> dict[str, float]:
    """The share of a step's requests to the judge, those of all hosts, that failed."""
    if judge is None:
        return {}
    sent, failed = map(sum, zip(*hosts.gather("what the judge did", judge.counts())))
    return {"judge_failed": failed / max(1, sent)}


def _report(config: RgrpoRunConfig, workdir: Path, title: str, step: int, scored, start) -> None:
    """Curves so far, and an episode of each of the step's groups."""
    summary = f"{step + 1} of {config.steps} steps from {config.model} on {config.data}"
    pages.write(workdir, title, summary, {title: workdir}, scored, start.tokenizer)


def _questions(
    config: RgrpoRunConfig, start, rows: Sequence[vlir.RlRow], share: Share
) -> grain.DatasetIterator:
    """Batches of questions, of which a host loads its share."""
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.tags.get(config.group_by_tag, ""), []).append(number)
    alike = tuple(tuple(groups[value]) for value in sorted(groups))
    plan = pipelines.BatchPlan(alike, config.rollout.questions, config.seed)
    bounds = start.form.image_bounds
    is_own = functools.partial(config.rollout.is_own, share=share)
    return pipelines.stream(plan, lambda i: traces.load_question(rows[i], bounds), is_own)


def remember(config: AlarmConfig, workdir: Path) -> Alarms:
    """Returns alarms that have seen the steps in metrics.jsonl, as if the run had never stopped; of
    several hosts the first has them, which writes."""
    watch = Alarms(config)
    for line in metrics.read(workdir / metrics.METRICS) if hosts.leads() else ():
        watch.check(int(line["step"]), line)
    return watch


def _speeds(tally: engine.Tally, began: float, rolled: float) -> dict[str, float]:
    ended = time.monotonic()
    return {
        "rollout_s": rolled - began,
        "update_s": ended - rolled,
        "tokens_per_s": tally.tokens / (ended - began),
        "useful_row_steps": tally.useful,
    }
