"""Questions on their way in: their prompts are built on the host while the device decodes."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from r3jax import batches
from r3jax.data import chat, frames
from r3jax.patches import VisionBatch
from r3jax.phases import Phase, span
from r3jax.records import Prompt, Question
from r3jax.rollout.decode import FOREVER
from r3jax.rollout.sampling import Asked
from r3jax.rollout.serve import Snapshot
from r3jax.rollout.state import DecodeState

if TYPE_CHECKING:
    from r3jax.rollout.engine import Engine
    from r3jax.rollout.seats import Seats


@dataclasses.dataclass(frozen=True)
class Built:
    """Questions on their way in, by `numbers`; of those that are this host's, prompts, the images
    to encode for them, and which of the images' features each prompt shows. `prompt_tokens` is the
    bucket that they need.

    Keys to sample with are folded from the seed, the step and what each is `keyed` by; `asked` is
    how the tokens of each are chosen, where they say so.
    """

    numbers: Sequence[int]
    questions: Sequence[Question]
    prompts: Sequence[Prompt]
    frames: Sequence[frames.Frame | None]
    images: VisionBatch
    shown: Sequence[np.ndarray]
    prompt_tokens: int
    seed: int
    step: int
    keyed: Sequence[int]
    asked: Asked | None = None


class Queue:
    """Questions that are all there from the start, built one step ahead of when they are needed: a
    `loop.Source`."""

    def __init__(self, coming: Iterator[Built]):
        self._coming = coming
        self._next: Built | None = None
        self.ended = False

    def prepare(self) -> None:
        """Builds the next ones, unless they are there: to be called while the device decodes."""
        if self._next is None and not self.ended:
            self._next = next(self._coming, None)
            self.ended = self._next is None

    def take(self) -> Built | None:
        """Returns the next ones, or None where there are no more."""
        self.prepare()
        taken, self._next = self._next, None
        return taken

    def wait(self) -> bool:
        """There is nothing to wait for: what is not there does not come."""
        return False

    def steps(self, has_room: bool) -> int:
        """The loop need not come back for more."""
        return FOREVER

    def watch(self, state: DecodeState, snapshot: Snapshot, seated: "Seats") -> tuple[int, ...]:
        """Nobody looks on, and no question is given up."""
        return ()


def build(
    engine: "Engine", questions: Iterable[Question | None], seed: int, step: int, first: int
) -> Iterator[Built]:
    """Builds the prompts of questions, as many at a time as come in together."""
    arriving, run = engine.config.arriving, engine.programs
    own, numbered = run.share.of(arriving), enumerate(questions, first)
    while batch := list(itertools.islice(numbered, arriving)):
        with span(Phase.DATA):
            numbers, asked = zip(*batch)
            ours = asked[own.start : own.stop]
            prompts = [chat.build_prompt(one, engine.tokenizer, engine.form) for one in ours]
            yield arrange(engine, numbers, ours, prompts, seed, step, numbers)


def arrange(
    engine: "Engine",
    numbers: Sequence[int],
    questions: Sequence[Question],
    built: Sequence[tuple[Prompt, frames.Frame | None]],
    seed: int,
    step: int,
    keyed: Sequence[int],
    asked: Asked | None = None,
) -> Built:
    """Arranges the images of prompts for the vision tower; `built` are of the `questions` that are
    this host's, of all `numbers`."""
    arriving, run = engine.config.arriving, engine.programs
    own, size = run.share.of(arriving), arriving // run.parts
    prompts, seen = [prompt for prompt, _ in built], [frame for _, frame in built]
    parts = [prompts[begin : begin + size] for begin in range(0, len(own), size)]
    images, index = batches.pack_parts(
        [[image for prompt in part for image in prompt.images] for part in parts],
        engine.buckets.images,
        "prompt images",
    )
    owned = [[len(prompt.images) for prompt in part] for part in parts]
    shown = itertools.chain(*map(batches.join_by_owner, owned, index))
    width = batches.prompt_bucket(prompts, engine.buckets)
    given = numbers, questions, prompts, seen, images, list(shown), width
    return Built(*given, seed, step, keyed, asked)
