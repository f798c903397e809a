"""Before the first step: whether the buckets hold what can come, and every program compiled.

Which bucket a step needs follows from what the policy writes, so a bucket may come for the first
time hours into a run. Checked ahead, it does not end the run; compiled ahead, from shapes alone, it
costs no step of it anything.
"""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding

from r3jax import batches, compiles, hosts, patches, regions
from r3jax import mesh as mesh_lib
from r3jax.buckets import Buckets, ImageBucket
from r3jax.data import chat, frames
from r3jax.kernels import region
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.model.stream import lay_out
from r3jax.patches import VisionBatch
from r3jax.rollout import crops, fitting, serve
from r3jax.rollout.decode import FOREVER, Until
from r3jax.rollout.engine import RolloutConfig
from r3jax.rollout.programs import Programs
from r3jax.rollout.state import Arrivals, DecodeState
from r3jax.update import objective
from r3jax.update.losses import UpdateBatch

Take = Callable[..., Any]
"""What is done with each program of a run, called with a name (its kind, then its sizes), a jitted
function and arguments like those that it will have; returns the shapes of the result, for programs
that take them."""


class Rollout(Protocol):
    """What decides the programs of a rollout: an `Engine`, or a plan's, which has no tokenizer."""

    model: Qwen25VL
    buckets: Buckets
    config: RolloutConfig
    programs: Programs
    way: crops.Way
    keep_features: bool


def check_rows(groups: int, rows: int, name: str) -> None:
    """Raises ValueError where so many groups, a config's `name`, cannot be dealt to a mesh."""
    if groups % rows:
        raise ValueError(
            f"{name} is {groups}, but the mesh deals what is computed together to {rows} (data x "
            "fsdp): choose a multiple of that"
        )


def check_images(
    shapes: Buckets, form: chat.ChatFormat, questions: int, sizes: Iterable[tuple[int, int]]
) -> None:
    """Raises ValueError where the images of so many questions, encoded together, fit no bucket.

    The worst batch shows the largest: `sizes` are height and width of each (equal images are
    stored once).
    """
    largest = sorted(_windows(sizes, form.image_bounds), reverse=True)[:questions]
    windows, slots = [w for w, _ in largest], max((s for _, s in largest), default=0)
    _check_fit("images", shapes.images, windows, slots, "the pixel bounds in r3jax.json")


def with_originals(shapes: Buckets, way: crops.Way, sizes: Collection[tuple[int, int]]) -> Buckets:
    """The buckets of a run about images of these `sizes`, height and width, with room for the
    largest where a device cuts looks.

    Raises: ValueError where they have less room.
    """
    if way is crops.Way.HOST:
        return shapes
    height, width = (max((size[axis] for size in sizes), default=1) for axis in (0, 1))
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
    windows, slots = fitting.largest_crop(form.look_rules)
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


def _windows(
    sizes: Iterable[tuple[int, int]], bounds: frames.PixelBounds
) -> Iterator[tuple[int, int]]:
    """Windows and slots of images as they are shown."""
    for height, width in sizes:
        try:
            frame = frames.Frame.fit(height, width, bounds)
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


def rollout_programs(eng: Rollout, policy: Policy, take: Take) -> None:
    """Takes the programs of `eng`, given what it reads of a policy, for every bucket of prompts,
    images and crops."""
    run, shapes, arriving = eng.programs, eng.buckets, eng.config.arriving
    numbers, dealt = np.zeros(arriving, np.int32), run.places.dealt
    keys = take("keys", run.keys, 0, 0, numbers)
    _cutting_programs(eng, take)
    seen = [
        take(f"encode-looks {bucket}", run.encode, policy, no_images(bucket, run.parts, dealt))
        for bucket in shapes.crops
    ]
    shown = [
        take(f"encode-images {bucket}", run.encode, policy, no_images(bucket, run.parts, dealt))
        for bucket in shapes.images
    ]
    widths = sorted(shapes.prompt_tokens)
    for place, tokens in enumerate(widths):
        prompt = _lying(batches.empty_prompts(arriving, tokens), run.places.prompts)
        for bucket, features in zip(shapes.images, shown, strict=True):
            prefix = take(f"prefill {tokens}, {bucket}", run.prefill, policy, prompt, features)
        last = _lying(numbers, dealt)
        states = [take(f"start {tokens}", run.start, tokens)]
        # Where questions say how they are asked, they do so of every group that there is.
        asked = jax.tree.map(lambda of: np.zeros(arriving, of.dtype), states[0].asked)
        arrivals = Arrivals(numbers, prefix, last, last, keys, asked)
        for grow in run.grow:
            states.append(take(f"grow {_size(states[-1])}", grow, states[-1]))
        for state in states:
            for wider in widths[place + 1 :]:
                take(f"widen {_size(state)} to {wider}", run.widen[wider], state)
            _state_programs(eng, policy, state, arrivals, seen, take)


def _cutting_programs(eng: Rollout, take: Take) -> None:
    """Takes what cuts looks, where the device does."""
    run, places = eng.programs, eng.config.questions
    shape = crops.planes_shape(eng.way, places, eng.buckets.originals)
    if shape is None:
        return
    planes = take("room", run.room, shape)
    where, picture = np.zeros(run.parts, np.int32), (run.parts, *shape[1:])
    shown = jax.ShapeDtypeStruct(picture, np.uint8, sharding=run.places.dealt)
    take("put-image", run.put, planes, where, shown)
    for bucket in eng.buckets.crops:
        empty = regions.empty_regions(_of_parts(bucket, run.parts))
        empty = _lying(empty, run.places.dealt)
        backend = region.Backend(eng.way)
        take(f"cut-looks {bucket}", run.cut, planes, empty, bucket.slots, backend)


def _state_programs(eng: Rollout, policy, state, arrivals: Arrivals, seen, take: Take) -> None:
    """Takes what a state of one shape goes through; `seen` are features of each bucket's crops."""
    run = eng.programs
    size = _size(state)
    take(f"admit {size}", run.admit, state, arrivals)
    take(f"decode {size}", run.decode, policy, state, Until(FOREVER, FOREVER, FOREVER))
    take(f"rows {size}", run.rows, state)
    take(f"recent {size}", run.recent, state, serve.asking(eng, []))
    take(f"written {size}", run.written, state, arrivals.group)
    for bucket, features in zip(eng.buckets.crops, seen, strict=True):
        insertion = _lying(serve.nothing(eng, bucket, run.parts), run.places.dealt)
        take(f"settle {size}, {bucket}", run.settle, state, insertion)
        take(f"append {size}, {bucket}", run.append, policy, state, insertion, features)


def _lying(arrays: Any, places: Any) -> Any:
    """Arrays as they are, or where there is a mesh their shapes, which lie as `places` say: one for
    each, or one for all."""
    if places is None:
        return arrays
    if isinstance(places, NamedSharding):
        places = jax.tree.map(lambda _, where=places: where, arrays)
    return mesh_lib.lying(arrays, places)


def no_images(bucket: ImageBucket, parts: int, where: NamedSharding | None = None) -> VisionBatch:
    """The shapes of a batch of images, each of so many parts in rows of its own."""
    shape = bucket.rows * parts, bucket.windows, bucket.slots

    def array(kind: type, *more: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*shape, *more), kind, sharding=where)

    patch = array(np.float32, patches.PATCH_VALUES)
    return VisionBatch(patch, array(np.int32), array(np.int32, 2))


def _of_parts(bucket: ImageBucket, parts: int) -> ImageBucket:
    return dataclasses.replace(bucket, rows=bucket.rows * parts)


def _size(state: DecodeState) -> str:
    """A state's tokens of a prompt and slots of a row."""
    return f"{state.prefix.mask.shape[1]}+{state.tokens.shape[-1]}"


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
    pairs = itertools.product(shapes.images, shapes.crops) if kept is None else []
    to_encode = [tuple(no_images(bucket, rows) for bucket in pair) for pair in pairs]
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
            # As shapes: those of a whole slice would not fit in a host's memory.
            shape = () if kept is None else (rows, tokens, *kept.shape)
            table = None if kept is None else jax.ShapeDtypeStruct(shape, kept.dtype)
            for shown in to_encode if table is None else [table]:
                yield UpdateBatch(
                    prompt, suffix, stream, shown, advantage, counted, objective.totals()
                )


def update_size(batch: UpdateBatch) -> str:
    """A batch's tokens of a prompt and of an episode, and how many its streams have."""
    prompt, suffix = batch.prompt.tokens.shape[-1], batch.suffix.inputs.shape[-1]
    rows, tokens = batch.stream.place.shape
    return f"{prompt}+{suffix}, {rows}x{tokens}"


def compile_for(name: str, function: Callable, *args) -> Any:
    """Compiles a program. A call with such arguments finds it: JAX keeps it with the trace."""
    hosts.goes_on(f"compiling {name}")
    lowered = function.lower(*args)
    lowered.compile()
    return compiles.returned(lowered)
