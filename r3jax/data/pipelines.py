"""Grain pipelines: batches of questions and of teacher episodes, in an order that can be resumed.

A batch is drawn from rows of one length bucket, so that little of it is padding. Which rows are in
batch i is a pure function of (seed, i): the iterator's state is one number, and every restart, with
any number of threads, goes on exactly where the run stopped.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import grain
import numpy as np

from r3jax.data import chat, frames, traces, vlir
from r3jax.data.tokenizer import Tokenizer
from r3jax.patches import FACTOR
from r3jax.records import Episode, Prompt, Question

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """A random-access source of batches: index -> numbers of the rows in it.

    `buckets` are the row numbers of each length bucket. An epoch takes every row of a bucket once,
    in an order drawn from (seed, epoch); what does not fill a batch is filled up from the start of
    the bucket's order.
    """

    buckets: tuple[tuple[int, ...], ...]
    batch_size: int
    seed: int

    def __post_init__(self):
        if not any(self.buckets):
            raise ValueError("there are no rows to make batches of: the data file is empty")

    @property
    def batches_per_epoch(self) -> int:
        return sum(-(-len(rows) // self.batch_size) for rows in self.buckets)

    def __len__(self) -> int:
        return 2**40  # without an end: epochs follow each other

    def __getitem__(self, index: int) -> list[int]:
        epoch, place = divmod(int(index), self.batches_per_epoch)
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        for rows in self.buckets:
            if not rows:
                continue
            order = rng.permutation(rows)
            size = -(-len(order) // self.batch_size) * self.batch_size
            batches += list(np.resize(order, size).reshape(-1, self.batch_size))
        return [int(row) for row in batches[rng.permutation(len(batches))[place]]]


def stream(
    plan: BatchPlan,
    load: Callable[[int], Item],
    is_own: Callable[[int], bool] = lambda place: True,
    threads: int = 2,
    buffered: int = 4,
) -> grain.DatasetIterator:
    """Returns an iterator over lists of loaded items, with get_state() and set_state().

    `load` turns a row number into an item; it runs in `threads` and must not depend on order. Of a
    batch only items whose place `is_own` are loaded, the others are None: hosts that share batches
    are always at the same one, and any number of them can go on from its state.
    """

    def load_own(rows: Sequence[int]) -> list[Item | None]:
        return [load(row) if is_own(place) else None for place, row in enumerate(rows)]

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffered)
    return iter(grain.MapDataset.source(plan).map(load_own).to_iter_dataset(options))


@dataclasses.dataclass(frozen=True)
class SftItem:
    """A question, its prompt and the teacher's episode."""

    question: Question
    prompt: Prompt
    episode: Episode


def load_sft(row: vlir.SftRow, tokenizer: Tokenizer, form: chat.ChatFormat) -> SftItem:
    """Opens a row's image and tokenises its prompt and trace in the format of `form`."""
    trace = traces.load_trace(row, form.image_bounds)
    prompt, frame = chat.build_prompt(trace.question, tokenizer, form)
    episode = traces.build_teacher_episode(trace, prompt, frame, tokenizer, form)
    return SftItem(trace.question, prompt, episode)


def episode_length(row: vlir.SftRow, tokenizer: Tokenizer, form: chat.ChatFormat) -> int:
    """An upper bound of the row's episode in tokens, without opening its image.

    Every box of the texts counts as long as it can become in an image under `form.image_bounds`.
    """
    words = 0
    for place, text in enumerate(row.segments):
        # What a crop follows ends at its box; white space kept there could merge into fewer tokens.
        text = text.rstrip() if place < row.num_crops else text
        longest = _lengthen_boxes(text, form.image_bounds)
        # Boxes stay as they are where both frames agree, or where they are no four numbers.
        words += max(len(tokenizer.encode(text)), len(tokenizer.encode(longest)))
    crop = form.look_rules.crop.max_pixels // FACTOR**2 + 2
    return words + row.num_crops * crop + 1


def _lengthen_boxes(text: str, bounds: frames.PixelBounds) -> str:
    """The text with its boxes rewritten as for an image in which every number is the longest.

    Worked example, sides of up to 4 digits: [0, 7, 30, 40] becomes [0, 9998, 9999, 9999], as 0 is
    0 in every frame. Every digit is a token, so no rewriting for a real image has more tokens.
    """
    # The longest side that `smart_resize` gives: of an image that fits, or was shrunk or grown.
    fitting = bounds.max_pixels // FACTOR
    changed = math.isqrt(frames.MAX_ASPECT * bounds.max_pixels) + 1 + FACTOR
    side = 10 ** len(str(max(fitting, changed))) - 1
    # From one frame to the other a box grows by side**2: whatever is not 0 reaches the far edge.
    small, large = frames.Frame(side, side, 1, 1), frames.Frame(1, 1, side, side)
    return traces.rewrite_boxes(text, small, large)


def by_length(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Sorts row numbers into the length buckets `sizes`; too long ones are an error naming one."""
    sizes = sorted(sizes)
    buckets: list[list[int]] = [[] for _ in sizes]
    for row, length in enumerate(lengths):
        fits = [i for i, size in enumerate(sizes) if length <= size]
        if not fits:
            raise ValueError(
                f"row {row} may have {length} tokens, the largest suffix bucket is {sizes[-1]}: "
                "add a larger bucket to suffix_tokens, or leave the row out"
            )
        buckets[fits[0]].append(row)
    return tuple(tuple(rows) for rows in buckets)
