"""Before the first step: whether the buckets hold what can come, and every program compiled.

Which bucket a step needs follows from what the policy writes, so a bucket may come for the first
time hours into a run. Checked ahead, it does not end the run; compiled ahead, from shapes alone, it
costs no step of it anything.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from r3jax import batches, patches, regions
from r3jax.buckets import Buckets, ImageBucket
from r3jax.data import chat, frames
from r3jax.data.images import ImageSource, read_size
from r3jax.kernels import region
from r3jax.model.stream import lay_out
from r3jax.rollout import crops, serve
from r3jax.rollout.decode import FOREVER, Until
from r3jax.rollout.engine import Engine
from r3jax.rollout.state import Arrivals
from r3jax.update import objective
from r3jax.update.losses import UpdateBatch

Take = Callable[..., Any]
"""What is done with each program of a run, called with a name, a jitted function and arguments like
those that it will have; returns the shapes of the result, for programs that take them."""


def check_rows(groups: int, rows: int, name: str) -> None:
    """Raises ValueError where so many groups, a config's `name`, cannot be dealt to a mesh."""
    if groups % rows:
        raise ValueError(
            f"{name} is {groups}, but the mesh deals what is computed together to {rows} (data x "
            "fsdp): choose a multiple of that"
        )


def check_images(
    shapes: Buckets, form: chat.ChatFormat, questions: int, shown: Iterable[ImageSource]
) -> None:
    """Raises ValueError where the images of so many questions, encoded together, fit no bucket.

    The worst batch shows the largest images of `shown` (equal ones are stored once).
    """
    largest = sorted(_windows(set(shown), form.image_bounds), reverse=True)[:questions]
    windows, slots = [w for w, _ in largest], max((s for _, s in largest), default=0)
    _check_fit("images", shapes.images, windows, slots, "the pixel bounds in r3jax.json")


def with_originals(shapes: Buckets, way: crops.Way, shown: Iterable[ImageSource]) -> Buckets:
    """The buckets of a run about these images, with room for the largest where a device cuts looks.

    Raises: ValueError where they have less room.
    """
    if way is crops.Way.HOST:
        return shapes
    sizes = [read_size(image) for image in set(shown)]
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    given = shapes.originals or (height, width)
    if height > given[0] or width > given[1]:
        raise ValueError(
            f"buckets.originals: images are up to {height} x {width} pixels (height x width), "
            f"found room for {given[0]} x {given[1]}: raise it, or leave it out"
        )
    return dataclasses.replace(shapes, originals=given)


def check_crops(shapes: Buckets, form: chat.ChatFormat, episodes: int) -> None:
    """Raises ValueError where an update that encodes the crops of so many episodes would find no
    bucket.

    In the worst batch every look that the rules allow is the largest.
    """
    windows, slots = serve.largest_crop(form.look_rules)
    looks = episodes * form.look_rules.max_looks
    _check_fit("crops", shapes.crops, [windows] * looks, slots, "max_looks in r3jax.json")


def _check_fit(
    name: str, choices: Sequence[ImageBucket], windows: Sequence[int], slots: int, lower: str
) -> None:
    if not any(bucket.holds(windows, slots) for bucket in choices):
        rows, most = len(windows), max(windows, default=0)
        found = ", ".join(f"{b.rows} rows of {b.windows} x {b.slots}" for b in choices)
        raise ValueError(
            f"buckets.{name}: a batch can have {rows} images, the largest of {most} windows of "
            f"{slots} slots; expected a bucket of {rows} rows (or fewer rows of more windows), "
            f"found {found}: add one, or lower rollout.questions or {lower}"
        )


def _windows(shown: Iterable[ImageSource], bounds: frames.PixelBounds) -> Iterator[tuple[int, int]]:
    """Windows and slots of images as they are shown; only their headers are read."""
    for image in shown:
        try:
            frame = frames.Frame.fit(*read_size(image), bounds)
        except ValueError:
            continue  # the loader says what is wrong with it, and in which row
        tokens = frame.resized_height // patches.FACTOR, frame.resized_width // patches.FACTOR
        yield patches.window_shape(*tokens)


def choosable(
    choices: Sequence[ImageBucket], windows: Sequence[int], slots: int
) -> tuple[ImageBucket, ...]:
    """The buckets that these images, or fewer of them, may be packed in: up to one that holds all.

    >>> small, large = ImageBucket(2, 1, 16), ImageBucket(4, 1, 16)
    >>> choosable((large, small), [1, 1], 16) == (small,)
    True
    """
    ordered = sorted(choices, key=lambda bucket: bucket.features)
    enough = (n for n, bucket in enumerate(ordered, start=1) if bucket.holds(windows, slots))
    return tuple(ordered[: next(enough, len(ordered))])


def rollout_programs(eng: Engine, params, take: Take) -> None:
    """Takes the programs of `eng` for every bucket of prompts, images and crops."""
    run, shapes, arriving = eng.programs, eng.buckets, eng.config.arriving
    numbers = np.zeros(arriving, np.int32)
    keys = take("keys", run.keys, 0, 0, numbers)
    policy = take("reshard", run.policy, params)
    _cutting_programs(eng, take)
    seen = [
        take("encode looks", run.encode, params, batches.empty_images(bucket))
        for bucket in shapes.crops
    ]
    widths = sorted(shapes.prompt_tokens)
    for place, tokens in enumerate(widths):
        prompt = batches.empty_prompts(arriving, tokens)
        for bucket in shapes.images:
            features = take("encode images", run.encode, params, batches.empty_images(bucket))
            prefix = take("prefill", run.prefill, params, prompt, features)
        arrivals = Arrivals(numbers, prefix, numbers, numbers, keys)
        states = [take("start", run.start, tokens)]
        for grow in run.grow:
            states.append(take("grow", grow, states[-1]))
        for state in states:
            for wider in widths[place + 1 :]:
                take("widen", run.widen[wider], state)
            _state_programs(eng, params, policy, state, arrivals, seen, take)


def _cutting_programs(eng: Engine, take: Take) -> None:
    """Takes what cuts looks, where the device does."""
    originals = crops.room(eng.way, eng.config.questions, eng.buckets.originals)
    planes = originals.planes
    if planes is None:
        return
    take("put image", crops.write, planes, np.int32(0), np.zeros(planes.shape[1:], np.uint8))
    for bucket in eng.buckets.crops:
        empty, backend = regions.empty_regions(bucket), region.Backend(eng.way)
        take("cut looks", region.cut_regions, planes, empty, bucket.slots, backend)


def _state_programs(
    eng: Engine, params, policy, state, arrivals: Arrivals, seen, take: Take
) -> None:
    """Takes what a state of one shape goes through; `seen` are features of each bucket's crops."""
    run = eng.programs
    rows = eng.config.questions, eng.config.episodes
    insertion = serve.nothing(rows, eng.buckets.look_tokens)
    asking = np.zeros((serve.most_at_once(eng.buckets), 2), np.int32)
    take("admit", run.admit, state, arrivals)
    take("decode", run.decode, policy, state, Until(FOREVER, FOREVER, FOREVER))
    take("recent", run.recent, state, asking)
    take("settle", run.settle, state, insertion.status)
    take("written", run.written, state, arrivals.group)
    for features in seen:
        take("append", run.append, params, state, insertion, features)


def empty_updates(
    shapes: Buckets,
    groups: int,
    episodes: int,
    kept: jax.ShapeDtypeStruct | None = None,
    rows: int = 1,
) -> Iterator[UpdateBatch]:
    """Every shape that a batch of groups of episodes, packed in so many rows, may have, with
    nothing in it.

    `kept` is a feature [D] where the rollout keeps them; else images and crops are to be encoded.
    """
    to_encode = [
        tuple(batches.empty_images(dataclasses.replace(b, rows=b.rows * rows)) for b in pair)
        for pair in itertools.product(shapes.images, shapes.crops)
    ]
    advantage = np.zeros((groups, episodes), np.float32)
    counted = np.zeros((groups, episodes), bool)
    for prompt_tokens, suffix_tokens in itertools.product(
        shapes.prompt_tokens, shapes.suffix_tokens
    ):
        prompt = batches.empty_prompts(groups, prompt_tokens)
        suffix = batches.empty_suffixes(groups, episodes, suffix_tokens)
        lengths = prompt.mask.sum(1), suffix.valid.sum(2)
        places = (prompt.mask.size + suffix.valid.size) // rows
        for tokens in shapes.stream_tokens(places):
            stream = lay_out(*lengths, prompt_tokens, suffix_tokens, tokens, rows)
            table = None if kept is None else np.zeros((rows, tokens, *kept.shape), kept.dtype)
            for shown in to_encode if table is None else [table]:
                yield UpdateBatch(
                    prompt, suffix, stream, shown, advantage, counted, objective.totals()
                )


def compile_for(name: str, function: Callable, *args) -> Any:
    """Compiles a program. A call with such arguments finds it: JAX keeps it with the trace."""
    lowered = function.lower(*args)
    lowered.compile()
    return jax.tree.map(
        lambda out: jax.ShapeDtypeStruct(out.shape, out.dtype, sharding=out.sharding),
        lowered.out_info,
    )
