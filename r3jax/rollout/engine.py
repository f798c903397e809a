"""The loop between device and host: decode until rows stop, serve their looks, go on.

    questions -> prompts -> encode, prefill -> decode -> boxes -> crops -> encode, append -> decode

Rows of all groups move together; looks of all waiting rows are served in one batch. What is
inserted continues the KV cache: nothing is encoded or prefilled twice.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from r3jax import batches
from r3jax.buckets import Buckets
from r3jax.data import chat, looks
from r3jax.data.tokenizer import Tokenizer
from r3jax.model.qwen import Qwen25VL
from r3jax.phases import Phase, span
from r3jax.records import Episode, Group, Question, Source, Stop
from r3jax.rollout import programs, serve
from r3jax.rollout.decode import DecodeState, Status
from r3jax.rollout.sampling import SamplingConfig

STOPS = {
    Status.ANSWERED: Stop.ANSWER,
    Status.ENDED: Stop.END,
    Status.FULL: Stop.LENGTH,
    Status.STOPPED: Stop.TURNS,
}


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
    """How episodes are made: `questions` groups at a time of `episodes` each."""

    questions: int = 16
    episodes: int = 5
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self):
        for name in ("questions", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Engine:
    """A model ready to make episodes: it holds no parameters and no state.

    `look` answers a box, as `looks.take_look` does; another function shows something else.
    `keep_features` leaves what the vision tower made of images and crops in the records, for
    updates that leave the tower as it is.
    """

    model: Qwen25VL
    tokenizer: Tokenizer
    form: chat.ChatFormat
    buckets: Buckets
    config: RolloutConfig
    programs: programs.Programs
    look: looks.LookTaker = looks.take_look
    keep_features: bool = False


def make_engine(
    model: Qwen25VL,
    tokenizer: Tokenizer,
    form: chat.ChatFormat,
    buckets: Buckets,
    config: RolloutConfig,
    keep_features: bool = False,
) -> Engine:
    """Returns an engine whose episodes have at most the largest suffix bucket of tokens.

    Raises ValueError where a crop or a message that can come would fit no bucket.
    """
    serve.check_buckets(tokenizer, form, buckets)
    made = programs.make_programs(
        model,
        programs.token_rules(tokenizer, model.config.text.vocab_size),
        config.sampling,
        config.episodes,
        buckets.suffix_tokens,
        buckets.look_tokens,
    )
    return Engine(model, tokenizer, form, buckets, config, made, keep_features=keep_features)


def collect(
    engine: Engine, params, questions: Sequence[Question], seed: int, step: int, first: int = 0
) -> list[Group]:
    """Returns a group of episodes for each question.

    Keys fold in the number of the question, counted from `first`: the same question of the same
    step gives the same episodes in whatever batch it is.
    """
    groups = []
    size = engine.config.questions
    for begin in range(0, len(questions), size):
        batch = questions[begin : begin + size]
        groups += _collect_batch(engine, params, batch, seed, step, first + begin)
    return groups


def _collect_batch(
    engine: Engine, params, questions: Sequence[Question], seed: int, step: int, first: int
) -> list[Group]:
    config, run = engine.config, engine.programs
    with span(Phase.DATA):
        built = [chat.build_prompt(q, engine.tokenizer, engine.form) for q in questions]
        prompts = [prompt for prompt, _ in built]
        padded = prompts + prompts[:1] * (config.questions - len(prompts))
        image_id = engine.tokenizer.ids.image_pad
        images, index = batches.pack_images(
            [image for prompt in padded for image in prompt.images],
            engine.buckets.images,
            "prompt images",
        )
        shown = batches.join_by_owner([len(prompt.images) for prompt in padded], index)
        prompt_batch = batches.pad_prompts(padded, shown, engine.buckets, image_id)
    with span(Phase.PREFILL) as done:
        policy = run.policy(params)
        features = run.encode(params, images)
        prefix = run.prefill(params, prompt_batch, features)
        done((policy, prefix))
    state = run.start(
        np.array([p.tokens[-1] for p in padded], np.int32),
        np.array([p.positions[0, -1] for p in padded], np.int32),
        np.arange(config.questions) < len(questions),
    )
    numbers = np.arange(first, first + config.questions, dtype=np.int32)
    keys = run.keys(seed, step, numbers)
    rows = {
        (b, g): serve.Row(question, frame)
        for b, (question, (_, frame)) in enumerate(zip(questions, built))
        for g in range(config.episodes)
    }
    while True:
        with span(Phase.DECODE) as done:
            state = done(run.decode(policy, prefix, state, keys))
            snapshot = serve.read(state)
        if not serve.is_going_on(snapshot):
            break
        with span(Phase.LOOKS) as done:
            state = _with_room(engine, state, snapshot)
            for chunk in serve.in_chunks(snapshot.waiting, engine.buckets):
                served = serve.insert_looks(engine, snapshot, chunk, rows)
                if not served.insertion.count.any():  # they ask once too often, or have no room
                    state = run.settle(state, served.insertion.status)
                    continue
                crop_features = run.encode(params, served.crops)
                state = run.append(params, prefix, state, served.insertion, crop_features)
                if engine.keep_features:
                    serve.keep_features(served, rows, np.asarray(crop_features))
            done(state)
    if engine.keep_features:
        table = np.asarray(features)
        prompts = [
            dataclasses.replace(prompt, features=table[index])
            for prompt, index in zip(prompts, shown)
        ]
    return _groups(engine, jax.device_get(state._replace(cache=None)), prompts, rows, questions)


def _with_room(engine: Engine, state: DecodeState, snapshot: serve.Snapshot) -> DecodeState:
    """Grows the state where a row is about to fill its slots."""
    run, slots = engine.programs, state.tokens.shape[-1]
    needed = serve.reach(snapshot, engine.buckets.look_tokens) + run.spare
    while slots < run.slots[-1] and needed > slots:
        level = run.slots.index(slots)
        state, slots = run.grow[level](state), run.slots[level + 1]
    return state


def _groups(engine: Engine, state: DecodeState, prompts, rows, questions) -> list[Group]:
    """Turns the finished state into records."""
    groups = []
    for b, (question, prompt) in enumerate(zip(questions, prompts)):
        episodes = tuple(
            _episode(engine, state, (b, g), rows[b, g]) for g in range(engine.config.episodes)
        )
        groups.append(Group(question, prompt, episodes))
    return groups


def _episode(engine: Engine, state: DecodeState, at: tuple[int, int], row: serve.Row) -> Episode:
    filled = slice(1, int(state.length[at]))  # slot 0 is the last prompt token
    tokens, source = state.tokens[at][filled], state.source[at][filled]
    text = engine.tokenizer.decode(tokens[source != Source.IMAGE])
    return Episode(
        tokens=tokens,
        source=source,
        positions=state.positions[(slice(None), *at, filled)],
        logp=state.logp[at][filled],
        looks=tuple(row.looks),
        stop=STOPS[Status(int(state.status[at]))],
        text=text,
        answer=chat.answer_in(text),
    )
