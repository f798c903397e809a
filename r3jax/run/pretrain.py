"""Pre-training a tiny model from nothing on perception: the look-again world's Qwen2.5-VL.

    pictures -> lessons (name, where, locate, both, caption, read) + dense labels -> pretrain_step

The stages: seeing first and alone, then finding with a tower that stands still, then everything.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np

from r3jax import hosts, paths
from r3jax.buckets import Buckets
from r3jax.data import chat, looks
from r3jax.data.world import generate, lessons, pretrain
from r3jax.phases import Phase, span
from r3jax.records import LookOutcome
from r3jax.rollout import programs
from r3jax.run import newborn, pretrained
from r3jax.run.session import CheckpointConfig, Session
from r3jax.update import dense, losses, pack
from r3jax.update import pretrain as update
from r3jax.update.state import Optimizer, OptimizerConfig, init_state, make_optimizer

SHOWN = {
    "loss": "loss",
    "exact/scenes": "scenes",
    "exact/prints": "reading",
    "seconds": "s/step",
}


VALID_SEED = 1_000_000  # of held-out lessons, beyond that of the run


@dataclasses.dataclass(frozen=True)
class Stage:
    """So many steps of a mix of lessons; weights of text about scenes, reading, dense heads.

    Without `vision` the tower stands still and is told nothing: `dense` counts for nothing.
    `schedule` is that of the learning rate over this stage, `rate` a factor of it.
    """

    steps: int
    tasks: Mapping[str, float]
    vision: bool = True
    schedule: str = "constant"
    rate: float = 1.0
    scenes: float = 1.0
    prints: float = 1.0
    dense: float = 1.0


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """A new model of `shape`, asked in the format `form`, taught `plan` in `stages`.

    `scene_buckets` and `print_buckets` are the shapes of the two halves of a batch. Every stage
    starts with an `optimizer` that remembers nothing.
    """

    shape: newborn.Shape
    form: chat.ChatFormat
    plan: lessons.LessonPlan
    stages: tuple[Stage, ...]
    scene_buckets: Buckets
    print_buckets: Buckets
    optimizer: OptimizerConfig
    seed: int = 0
    tokenizer_samples: int = 2000
    valid_every: int = 250
    logit_chunk: int = 8192
    checkpoint: CheckpointConfig = CheckpointConfig()
    tensorboard: bool = False

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


def run(
    config: PretrainConfig,
    workdir: str | Path,
    title: str = "pre-training",
    profile: int | None = None,
) -> Path:
    """Trains, resuming where a run in `workdir` stopped; returns the exported model directory.

    `profile` is how many steps to time (`run/profiler.py`). Raises: ValueError on several hosts,
    which a model as small as that has no use for.
    """
    if hosts.several():
        raise ValueError("config.kind: pretrain runs on one host, found several")
    start = _start(config, paths.of(workdir) / "start")
    model = start.model()
    heads = dense.init_heads(
        jax.random.key(config.seed + 1), model.config.text.hidden_size, lessons.CLASSES
    )
    params = {update.MODEL: start.params, update.HEADS: heads}
    optimizers = [_optimizer(config, stage, params) for stage in config.stages]
    step_fns = [
        jax.jit(
            functools.partial(
                update.pretrain_step, model, _forward(config, stage.vision), optimizer
            ),
            donate_argnums=0,
        )
        for stage, optimizer in zip(config.stages, optimizers)
    ]
    losses_fn = jax.jit(functools.partial(update.losses, model, _forward(config, vision=True)))
    allowed = jnp.asarray(programs.allowed_tokens(start.tokenizer, model.config.text.vocab_size))
    teacher = lessons.Teacher(config.plan, start.tokenizer, start.form, config.seed)
    words = jnp.asarray(teacher.word_tokens())
    iterator = _batches(config, teacher)
    valid = _valid_batches(config, start)
    state = init_state(params, optimizers[0])
    session = Session(workdir, title, config, state, iterator, SHOWN, {}, profile)
    with session as run:
        state = run.state
        for step in run.steps():
            number, past = _stage(config.stages, step)
            if past == 0:
                state = state._replace(opt_state=optimizers[number].init(state.params))
            weights = _weights(config.stages[number])
            with span(Phase.DATA):
                batch = next(iterator)
            with span(Phase.UPDATE) as done:
                state, stats = done(step_fns[number](state, batch, weights, words, allowed))
            stats = jax.device_get(stats)
            if (step + 1) % config.valid_every == 0:
                everything = update.Weights(*np.ones(3, np.float32))
                with span(Phase.LOG_PROBS):
                    stats |= _validate(losses_fn, state.params, valid, everything, words, allowed)
                run.progress.note(_line(step, stats))
            run.record(step, stats, {})
            run.save_if_due(step, state)
    return pretrained.save(start, state.params[update.MODEL], paths.of(workdir) / "export")


def _start(config: PretrainConfig, directory: Path) -> pretrained.Pretrained:
    """Writes the new model once; a resumed run finds it."""
    if not (directory / "config.json").is_file():
        count = config.tokenizer_samples
        samples = [
            generate.sample(config.seed, i, "train", config.plan.world) for i in range(count)
        ]
        artist = lessons.Teacher(config.plan, None, config.form, config.seed)
        images = artist.pictures_and_crops(count // 8)
        newborn.write(directory, config.shape, config.form, _texts(samples), images, config.seed)
    return pretrained.load(directory)


def _texts(samples: Sequence[generate.places.Sample]) -> list[str]:
    """What the tokenizer learns from: questions, traces, lessons, and messages of failed looks."""
    texts = [looks.message(o) for o in LookOutcome if o is not LookOutcome.OK] * 50
    for sample in samples:
        texts += [sample.question, "".join(sample.rationale), *pretrain.sentences(sample)]
    return texts


def _optimizer(config: PretrainConfig, stage: Stage, params) -> Optimizer:
    """Moments of a part that did not learn would be near zero, and its first updates huge."""
    over = dataclasses.replace(
        config.optimizer,
        learning_rate=config.optimizer.learning_rate * stage.rate,
        schedule=stage.schedule,
        total_steps=max(stage.steps, 1),
    )
    return make_optimizer(over, params)


def _forward(config: PretrainConfig, vision: bool) -> losses.ForwardConfig:
    return losses.ForwardConfig(logit_chunk=config.logit_chunk, train_vision=vision)


def _stage(stages: Sequence[Stage], step: int) -> tuple[int, int]:
    """The number of the stage that a step belongs to, and how many steps of it are done."""
    for number, stage in enumerate(stages):
        if step < stage.steps:
            return number, step
        step -= stage.steps
    raise ValueError(f"there is no step {step} beyond the last stage")


def _weights(stage: Stage) -> update.Weights:
    return update.Weights(*(np.float32(w) for w in (stage.scenes, stage.prints, stage.dense)))


def _batches(config: PretrainConfig, teacher: lessons.Teacher) -> grain.DatasetIterator:
    def make(step: int) -> update.PretrainBatch:
        stage = config.stages[_stage(config.stages, step)[0]]
        return _pack(config, teacher, step, stage.tasks)

    dataset = grain.MapDataset.range(config.steps).map(make)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def _pack(
    config: PretrainConfig, teacher: lessons.Teacher, step: int, tasks
) -> update.PretrainBatch:
    scenes, prints = teacher.draw(step, tasks)
    image_id = teacher.tokenizer.ids.image_pad
    parts = []
    for taught, shapes in ((scenes, config.scene_buckets), (prints, config.print_buckets)):
        prompts, episodes = [t.prompt for t in taught], [t.episode for t in taught]
        batch = pack.pack_taught(prompts, episodes, shapes, image_id)
        parts += [batch, _place_labels(batch, taught)]
    batch, labels = parts[:2]
    named = _place_named(batch, scenes)
    return update.PretrainBatch(batch, labels, named, *parts[2:])


def _place_labels(batch: losses.UpdateBatch, taught: Sequence[lessons.Lesson]) -> dict:
    """Puts the labels of each image's tokens where its features are in the table."""
    rows, windows, slots = batch.shown[0].segment.shape
    size = rows * windows * slots // 4
    labels = {n: np.full(size, lessons.NO_LABEL, np.int32) for n in lessons.CLASSES}
    for row, lesson in enumerate(taught):
        index = batch.prompt.feature_index[row]
        for name, values in lesson.labels.items():
            labels[name][index[index >= 0]] = values
    return labels


def _place_named(batch: losses.UpdateBatch, taught: Sequence[lessons.Lesson]) -> np.ndarray:
    """Puts the words that name each image's tokens where its features are in the table."""
    rows, windows, slots = batch.shown[0].segment.shape
    words = len(lessons.WORDS)
    named = np.full((rows * windows * slots // 4, words), lessons.NO_LABEL, np.int8)
    for row, lesson in enumerate(taught):
        index = batch.prompt.feature_index[row]
        named[index[index >= 0]] = lesson.named
    return named


def _valid_batches(config: PretrainConfig, start) -> dict[str, list[update.PretrainBatch]]:
    """Held-out lessons of every task, from pictures with other fonts and layouts.

    Not the test pictures of a demonstration with the same seed: those are for its results alone.
    """
    plan = dataclasses.replace(config.plan, pool=400)
    seed = config.seed + VALID_SEED
    teacher = lessons.Teacher(plan, start.tokenizer, start.form, seed, split="test")
    tasks = sorted({task for stage in config.stages for task in stage.tasks})
    return {task: [_pack(config, teacher, i, {task: 1.0}) for i in range(3)] for task in tasks}


def _validate(losses_fn, params, batches, *constants) -> dict[str, float]:
    """Share of held-out answers that are right, of each task, and the dense heads' accuracies."""
    stats, dense_heads = {}, []
    for task, asked in batches.items():
        found = jax.device_get([losses_fn(params, batch, *constants)[1] for batch in asked])
        stats[f"valid/exact/{task}"] = float(np.mean([f["exact/scenes"] for f in found]))
        dense_heads += found
    for name in dense_heads[0]:
        if name.startswith(("dense/", "exact/prints")):
            stats[f"valid/{name}"] = float(np.mean([f[name] for f in dense_heads]))
    return stats


def _line(step: int, stats: Mapping[str, float]) -> str:
    held_out = {k: v for k, v in stats.items() if k.startswith("valid/")}
    return f"step {step + 1}: " + "  ".join(f"{k} {v:.3f}" for k, v in held_out.items())
