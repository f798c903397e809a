"""Supervised fine-tuning on interleaved traces: the cold start of VLM-R3, and its control runs.

rows -> teacher episodes -> packed batch -> update -> metrics, checkpoint, export
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r3jax import mesh as mesh_lib
from r3jax import paths, shares
from r3jax.arrays import Array
from r3jax.buckets import Buckets
from r3jax.data import pipelines, sources, vlir
from r3jax.mesh import MeshConfig
from r3jax.model.config import LoraConfig
from r3jax.model.layers import Dtype, Remat
from r3jax.model.qwen import Qwen25VL
from r3jax.phases import Phase, span
from r3jax.rollout import fitting, programs
from r3jax.run import origins, pages, pretrained, warm
from r3jax.run.learner import Learner
from r3jax.run.session import CheckpointConfig, Session
from r3jax.shares import Share
from r3jax.update import losses, pack
from r3jax.update.state import OptimizerConfig, check_lora, is_frozen, make_optimizer

SHOWN = {"loss": "loss", "valid_loss": "held-out", "tokens_per_s": "tok/s"}


@dataclasses.dataclass(frozen=True)
class SftConfig:
    """SFT of the model directory `model` on the traces of `data`, named as in `sources`.

    A step computes on `micro_batch` rows at a time (0: all), for less memory; what it learns is the
    same. `valid_data` gives a held-out loss every `valid_every` steps on `valid_rows` rows. `dtype`
    is that of computation: weights that learn and their moments are float32. With `lora` adapters
    alone learn, beside a base in `dtype`: fresh ones, or those of the run with the workdir
    `adapters`.

    Raises: ValueError for a number that is too small, or adapters of a part that has none.
    """

    model: str
    data: str
    buckets: Buckets
    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    lora: LoraConfig | None = None
    adapters: str = ""
    micro_batch: int = 0
    seed: int = 0
    valid_data: str = ""
    valid_every: int = 25
    valid_rows: int = 256
    logit_chunk: int = 1024
    dtype: Dtype = "float32"
    remat: Remat = "dots"
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tensorboard: bool = False

    def __post_init__(self):
        for name in ("steps", "batch_size", "valid_every", "valid_rows", "logit_chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        check_lora(self.lora, self.adapters, self.optimizer)
        pack.check_micro_batch(self.micro_batch, self.batch_size, "batch_size")

    @property
    def together(self) -> int:
        """How many rows a step computes on at a time."""
        return self.micro_batch or self.batch_size


def run(
    config: SftConfig, workdir: str | Path, title: str = "SFT", profile: int | None = None
) -> Path:
    """Trains, resuming where a run in `workdir` stopped; returns the exported model directory.

    `profile` is how many steps to time (`run/profiler.py`).
    """
    given = config.lora, config.adapters, config.dtype, config.seed
    start = pretrained.load_to_train(config.model, *given)
    pretrained.carry(start, workdir)
    model = start.model(jnp.dtype(config.dtype), config.remat)
    allowed = programs.allowed_tokens(start.tokenizer, model.config.text.vocab_size)
    mesh = mesh_lib.mesh_of(config.mesh)
    learner = make_learner(config, model, start.params, mesh, shares.of_host(mesh))
    name = "micro_batch" if config.micro_batch else "batch_size"
    warm.check_rows(config.together, learner.rows, name)
    state = learner.init(start.params)
    start = dataclasses.replace(start, params={})  # so that nobody keeps what it began with
    rows, plan, load = _load_rows(config, start, config.data, config.seed)
    own = learner.share.of(config.batch_size)
    iterator = pipelines.stream(plan, load, is_own=own.__contains__)
    held_out = _held_out(config, start, learner)
    held_out_loss = functools.partial(_loss, model, forward_of(config))
    loss_fn = jax.jit(mesh_lib.on(mesh, held_out_loss), out_shardings=learner.whole)
    made_from = origins.fingerprints(config.model, config.data, config.adapters)
    session = Session(workdir, title, config, state, iterator, SHOWN, made_from, profile)
    with session as run:
        state = run.state
        if told := mesh_lib.unused(mesh):
            run.progress.note(told)
        if not run.is_done:
            shapes = _shapes(config, start, rows, plan, learner.rows)
            every_program(config, learner, shapes, state, allowed, warm.compile_for)
            for batch in {jax.tree.map(np.shape, batch): batch for batch in held_out}.values():
                warm.compile_for("held-out loss", loss_fn, state.params, batch, allowed)
        for step in run.steps():
            began = time.monotonic()
            with span(Phase.DATA):
                items = [item for item in next(iterator) if item is not None]
                batches = _pack(config, start, learner, items)
            tokens = float(batches[0].totals.tokens)
            with span(Phase.UPDATE) as done:
                state, stats, _ = done(learner.update(state, [(b, allowed) for b in batches]))
            stats = {"trained_tokens": tokens, **jax.device_get(stats)}
            timings = {"tokens_per_s": tokens / (time.monotonic() - began)}
            if held_out and (step + 1) % config.valid_every == 0:
                with span(Phase.LOG_PROBS):
                    stats["valid_loss"] = _mean_loss(loss_fn, state.params, held_out, allowed)
            run.record(step, stats, timings)
            if run.save_if_due(step, state):
                with span(Phase.CHECKPOINT):
                    pages.write(run.workdir, title, _summary(config, step), {title: run.workdir})
    return pretrained.save(start, state.params, paths.of(workdir) / "export")


def make_learner(
    config: SftConfig,
    model: Qwen25VL,
    params: dict,
    mesh: Mesh | None,
    share: Share = shares.ALL,
) -> Learner:
    """Returns what updates a model on a mesh, of whose batches this host has a share, given its
    parameters or their shapes."""
    optimizer = make_optimizer(config.optimizer, params)
    loss = functools.partial(losses.sft_loss, model, forward_of(config))
    return Learner(loss, optimizer, model.config, mesh, share)


def forward_of(config: SftConfig) -> losses.ForwardConfig:
    """How episodes are scored."""
    return losses.ForwardConfig(
        logit_chunk=config.logit_chunk, train_vision=not is_frozen(config.optimizer, "vision")
    )


def _summary(config: SftConfig, step: int) -> str:
    return f"{step + 1} of {config.steps} steps from {config.model} on {config.data}"


def _load_rows(config: SftConfig, start: pretrained.Pretrained, path: str, seed: int):
    """Returns the rows of a data set, the plan of batches, how a row number becomes an item."""
    rows = sources.read_sft(path)
    lengths = [pipelines.episode_length(row, start.tokenizer, start.form) for row in rows]
    alike = pipelines.by_length(lengths, config.buckets.suffix_tokens)
    plan = pipelines.BatchPlan(alike, config.batch_size, seed)
    return rows, plan, lambda i: pipelines.load_sft(rows[i], start.tokenizer, start.form)


def _shapes(
    config: SftConfig,
    start: pretrained.Pretrained,
    rows: Sequence[vlir.SftRow],
    plan: pipelines.BatchPlan,
    streams: int,
) -> list[Buckets]:
    """The buckets that batches of `rows` may need, of one length and one size of crops each."""
    together = config.together // streams  # on one device
    windows, slots = fitting.largest_crop(start.form.look_rules)
    sizes, needed = sorted(config.buckets.suffix_tokens), set()
    for place, numbers in enumerate(plan.buckets):
        crops = sorted((rows[i].num_crops for i in numbers), reverse=True)[:together]
        chosen = warm.choosable(config.buckets.crops, [windows] * sum(crops), slots)
        if numbers:  # the plan knows how long they are at most: a batch of them may be shorter
            needed |= set(itertools.product(sizes[: place + 1], chosen))
    return [
        dataclasses.replace(config.buckets, suffix_tokens=(tokens,), crops=(bucket,))
        for tokens, bucket in sorted(needed, key=lambda one: (one[0], one[1].features))
    ]


def every_program(
    config: SftConfig, learner: Learner, shapes: Iterable[Buckets], state, allowed, take: warm.Take
) -> None:
    """Takes the programs of a step for every batch that these buckets allow."""
    batches = (
        learner.shape_of(batch)
        for one in shapes
        for batch in warm.empty_updates(one, config.together, 1, rows=learner.rows)
    )
    number = config.batch_size // config.together
    learner.programs(state, number, ((batch, allowed) for batch in batches), take)


def _pack(
    config: SftConfig, start: pretrained.Pretrained, learner: Learner, items
) -> list[losses.UpdateBatch]:
    """The micro-batches of a step, of which `items` are this host's share."""
    packed, size = [], config.micro_batch // learner.share.count
    given = config.buckets, start.tokenizer.ids.image_pad, learner.own_rows
    for dealt in pack.deal(items, size, lambda item: len(item.episode.tokens)):
        prompts, episodes = [i.prompt for i in dealt], [i.episode for i in dealt]
        packed.append(pack.pack_taught(prompts, episodes, *given))
    return [learner.place_batch(one) for one in pack.as_one_step(packed, learner.share)]


def _loss(model, forward: losses.ForwardConfig, params, batch: losses.UpdateBatch, allowed: Array):
    """Sum of the negative log-probs of trained tokens, and how many there are."""
    scores = losses.score(model, forward, params, batch, allowed)
    trained = batch.suffix.trained
    return -jnp.where(trained, scores.logp, 0.0).sum(), trained.sum()


def _held_out(
    config: SftConfig, start: pretrained.Pretrained, learner: Learner
) -> list[losses.UpdateBatch]:
    """The held-out rows, packed once."""
    if not config.valid_data:
        return []
    _, plan, load = _load_rows(config, start, config.valid_data, seed=0)
    own = learner.share.of(config.batch_size)
    numbers = range(max(1, config.valid_rows // config.batch_size))
    items = ([load(i) for i in plan[number][own.start : own.stop]] for number in numbers)
    batches = (_pack(config, start, learner, one) for one in items)
    return list(itertools.chain.from_iterable(batches))


def _mean_loss(loss_fn, params, batches, allowed: Array) -> float:
    sums = jax.device_get([loss_fn(params, batch, allowed) for batch in batches])
    return float(sum(s for s, _ in sums)) / float(sum(n for _, n in sums))
