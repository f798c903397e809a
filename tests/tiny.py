"""A tiny set-up for tests: tokenizer, model, chat format, buckets, questions, traces, batches.

Everything is made once a process and is the same in every run. Raw images are 336x336, shown at
112x112 (16 tokens); crops have at most 9 tokens.
"""

import dataclasses
import functools
import tempfile

import jax
import numpy as np

from r3jax import buckets
from r3jax.data import chat, frames, looks, tokenizer, traces
from r3jax.model import config, qwen
from r3jax.records import Episode, LookOutcome, Prompt, Question
from r3jax.rollout import engine, programs, sampling
from r3jax.update import losses, state, steps
from r3jax.update import pack as update_pack

VOCAB = 512  # more rows than the tokenizer has ids
NAMES = ("black cross", "sign H", "bar on the left", "line B", "pink diamond", "cup", "red dot")
TWO_LOOKS = (
    '<think>{"bbox_2d": [0, 0, 56, 56]}',
    '{"bbox_2d": [56, 56, 112, 112]}',
    "</think><answer>5</answer>",
)
OUTSIDE = '<think>Look there: {"bbox_2d": [300, 300, 400, 400]}'  # no image is that large
FORM = chat.ChatFormat(
    system=None,
    instruction="",
    image_bounds=frames.PixelBounds(784, 112 * 112),
    look_rules=looks.LookRules(frames.PixelBounds(784, 84 * 84), max_looks=2, max_aspect=2.0),
)
BUCKETS = buckets.Buckets(
    prompt_tokens=(48,),
    suffix_tokens=(80, 128),
    look_tokens=48,
    images=(buckets.ImageBucket(6, 1, 64),),
    crops=(buckets.ImageBucket(6, 1, 36), buckets.ImageBucket(24, 1, 36)),
    fill=(0.7, 1.0),
)


@functools.cache
def image(number: int) -> np.ndarray:
    """A picture of 4x4 coloured cells of 84x84 pixels with fine noise, uint8 [336, 336, 3]."""
    rng = np.random.default_rng(number)
    cells = rng.integers(0, 200, (4, 4, 3)).repeat(84, 0).repeat(84, 1)
    return (cells + rng.integers(0, 56, cells.shape)).astype(np.uint8)


def question(number: int) -> Question:
    """A question in the words of the look-again world, about `image(number)`."""
    name, answer = NAMES[number % len(NAMES)], str(11 * number + 12)
    return Question(str(number), f"What number is on the {name}?", (image(number),), answer)


def segments(number: int) -> tuple[str, ...]:
    """A teacher's way to the answer of `question(number)`, boxes in the resized image."""
    row, column = divmod(7 * number % 16, 4)
    x, y, name, answer = 28 * column, 28 * row, NAMES[number % len(NAMES)], question(number).answer
    return (
        f"<think>The {name} is in row {row + 1}, column {column + 1}. "
        f'{{"bbox_2d": [{x}, {y}, {x + 28}, {y + 28}]}}',
        f"It says {answer}.</think><answer>{answer}</answer>",
    )


@functools.cache
def tk() -> tokenizer.Tokenizer:
    """A tokenizer learnt from the texts and the messages about failed looks."""
    texts = [text for i in range(24) for text in (question(i).text, *segments(i))]
    told = (LookOutcome.OK, LookOutcome.NO_IMAGE)  # questions have an image
    failed = [o for o in LookOutcome if o not in told]
    with tempfile.TemporaryDirectory() as folder:
        return tokenizer.train_tokenizer(texts + [looks.message(o) for o in failed], 220, folder)


@functools.cache
def model() -> qwen.Qwen25VL:
    """Two layers each, grouped heads, tied embeddings, float32."""
    ids = tk().ids
    text = config.TextConfig(VOCAB, 64, 2, 4, 2, 128, 16, 1e-6, 1e6, (2, 3, 3))
    vision = config.VisionConfig(2, 32, 2, 64, 64, (1,))
    special = (ids.image_pad, ids.video_pad, ids.vision_start, ids.vision_end)
    return qwen.Qwen25VL(config.ModelConfig(text, vision, True, *special))


@functools.cache
def params() -> dict:
    """Random parameters."""
    init = jax.jit(functools.partial(qwen.init_params, model().config))
    return init(jax.random.key(0))


@functools.cache
def allowed() -> np.ndarray:
    """Which tokens may be sampled, bool [V]."""
    return programs.allowed_tokens(tk(), VOCAB)


def questions(count: int = 6) -> list[Question]:
    """The first questions."""
    return [question(i) for i in range(count)]


def trace(number: int) -> traces.Trace:
    """The teacher's way to the answer of question `number`: one look."""
    frame = frames.Frame.fit(336, 336, FORM.image_bounds)
    where = f"trace {number}"
    return traces.Trace(question(number), segments(number), (True, True), 1, frame, where)


def bad_trace(number: int) -> traces.Trace:
    """As `trace`, but the teacher asks for a view of what is not there, and stops."""
    return dataclasses.replace(trace(number), segments=(OUTSIDE,), trained=(True,), num_crops=0)


def two_look_trace(number: int) -> traces.Trace:
    """As `trace`, but the teacher takes two looks with few words."""
    trained = (True,) * len(TWO_LOOKS)
    return dataclasses.replace(trace(number), segments=TWO_LOOKS, trained=trained, num_crops=2)


def taught_traces() -> list[traces.Trace]:
    """What the model that looks was taught: one look, one look, ..., two looks, a failed look."""
    return [*(trace(i) for i in range(4)), two_look_trace(4), bad_trace(5)]


def teach(one: traces.Trace) -> tuple[Prompt, Episode]:
    """A trace as prompt and episode."""
    prompt, frame = chat.build_prompt(one.question, tk(), FORM)
    return prompt, traces.build_teacher_episode(one, prompt, frame, tk(), FORM)


def pack(
    prompts, episodes, advantage=None, counted=None, shapes=BUCKETS, rows=1
) -> losses.UpdateBatch:
    """Prompts [B] and episodes [B][G] as the update takes them."""
    shape = (len(prompts), len(episodes[0]))
    advantage = np.zeros(shape, np.float32) if advantage is None else np.float32(advantage)
    counted = np.ones(shape, bool) if counted is None else np.array(counted)
    image_pad = tk().ids.image_pad
    return update_pack.pack(prompts, episodes, advantage, counted, shapes, image_pad, rows)


def make_engine(
    size: int = 4, episodes: int = 3, shapes=BUCKETS, exchange=None, patience=64, **options
) -> engine.Engine:
    """An engine; `options` are temperature, top_k, top_p."""
    sampled = sampling.SamplingConfig(**options)
    how = engine.RolloutConfig(size, episodes, sampled, exchange, patience)
    return engine.make_engine(model(), tk(), FORM, shapes, how)


@functools.cache
def looking_params(num_steps: int = 30) -> dict:
    """Parameters trained on `taught_traces` until the model writes boxes, not always well."""
    taught = [teach(one) for one in taught_traces()]
    batch = pack([p for p, _ in taught], [[e] for _, e in taught])
    optimizer = state.make_optimizer(state.OptimizerConfig(learning_rate=6e-3), params())
    loss = functools.partial(losses.sft_loss, model(), losses.ForwardConfig())
    step = jax.jit(functools.partial(steps.step, loss, optimizer))
    current = state.init_state(params(), optimizer)
    for _ in range(num_steps):
        current, *_ = step(current, batch, allowed())
    return current.params
