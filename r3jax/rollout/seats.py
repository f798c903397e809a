"""Groups of rows as seats of questions: who comes next, and what those who leave have written.

Everything but `admit` and `leave` is on the host, and can be done while the device decodes.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from r3jax import batches
from r3jax.data import chat, frames
from r3jax.model.qwen import Policy
from r3jax.patches import VisionBatch
from r3jax.phases import Phase, span
from r3jax.records import Episode, Group, Prompt, Question, Source, Stop
from r3jax.rollout import crops, serve
from r3jax.rollout.state import Arrivals, DecodeState, Status, Written

if TYPE_CHECKING:
    from r3jax.rollout.engine import Engine

STOPS = {
    Status.ANSWERED: Stop.ANSWER,
    Status.ENDED: Stop.END,
    Status.FULL: Stop.LENGTH,
    Status.STOPPED: Stop.TURNS,
}


@dataclasses.dataclass(frozen=True)
class Seat:
    """The host's side of a group: its question, which of all it is, and its rows."""

    number: int
    question: Question
    prompt: Prompt
    rows: Sequence[serve.Row]


@dataclasses.dataclass(frozen=True)
class Built:
    """Questions on their way in: prompts, the images to encode for them, and which of the images'
    features each prompt shows. `prompt_tokens` is the bucket that they need."""

    numbers: Sequence[int]
    questions: Sequence[Question]
    prompts: Sequence[Prompt]
    frames: Sequence[frames.Frame]
    images: VisionBatch
    shown: Sequence[np.ndarray]
    prompt_tokens: int


@dataclasses.dataclass
class Seats:
    """Who has which group of rows, and the images that looks of the groups are cut from."""

    taken: dict[int, Seat]
    originals: crops.Originals


class Queue:
    """Questions that come in next, built one step ahead of when they are needed."""

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


def build(engine: "Engine", questions: Iterable[Question], first: int) -> Iterator[Built]:
    """Builds the prompts of questions, as many at a time as come in together."""
    size = engine.config.arriving
    numbered = enumerate(questions, first)
    while batch := list(itertools.islice(numbered, size)):
        with span(Phase.DATA):
            yield _build(engine, *zip(*batch))


def _build(engine: "Engine", numbers: Sequence[int], questions: Sequence[Question]) -> Built:
    prompts, seen = zip(*(chat.build_prompt(q, engine.tokenizer, engine.form) for q in questions))
    size = engine.config.arriving // engine.programs.parts
    parts = [prompts[begin : begin + size] for begin in range(0, engine.config.arriving, size)]
    images, index = batches.pack_parts(
        [[image for prompt in part for image in prompt.images] for part in parts],
        engine.buckets.images,
        "prompt images",
    )
    owned = [[len(prompt.images) for prompt in part] for part in parts]
    shown = itertools.chain(*map(batches.join_by_owner, owned, index))
    width = batches.prompt_bucket(prompts, engine.buckets)
    return Built(numbers, questions, prompts, seen, images, list(shown), width)


def admit(
    engine: "Engine",
    policy: Policy,
    state: DecodeState,
    built: Built,
    groups: Sequence[int],
    seats: Seats,
    seed: int,
    step: int,
) -> DecodeState:
    """Encodes and prefills questions and gives them these groups, as many or more of them: each
    one of the part that the question is dealt to."""
    run, config = engine.programs, engine.config
    width = state.prefix.mask.shape[1]
    if built.prompt_tokens > width:
        state, width = run.widen[built.prompt_tokens](state), built.prompt_tokens
    missing = config.arriving - len(built.prompts)
    prompts = [*built.prompts, *built.prompts[:1] * missing]
    image_id = engine.tokenizer.ids.image_pad
    shown = [*built.shown, *built.shown[:1] * missing]
    batch = batches.pad_prompts(prompts, shown, width, image_id)
    numbers = np.array([*built.numbers, *built.numbers[:1] * missing], np.int32)
    places = [run.part_of(group)[1] for group in groups[: len(built.prompts)]]
    nowhere = [run.groups] * missing
    with span(Phase.PREFILL) as done:
        features = run.encode(policy, run.place(built.images))
        arrivals = Arrivals(
            group=np.array([*places, *nowhere], np.int32),
            prefix=run.prefill(policy, batch, features),
            last_token=np.array([p.tokens[-1] for p in prompts], np.int32),
            last_position=np.array([p.positions[0, -1] for p in prompts], np.int32),
            keys=run.keys(seed, step, numbers),
        )
        state = done(run.admit(state, arrivals))
        pictures = [question.images[0] for question in built.questions]
        seats.originals = crops.put(
            seats.originals, groups, pictures, run.put, run.parts, run.place
        )
    table = np.asarray(features) if engine.keep_features else None
    seats.taken.update(zip(groups, _seats(engine, built, table)))
    return state


def _seats(engine: "Engine", built: Built, table: np.ndarray | None) -> Iterator[Seat]:
    size = engine.config.arriving // engine.programs.parts
    rows = zip(built.numbers, built.questions, built.prompts, built.frames, built.shown)
    for slot, (number, question, prompt, frame, index) in enumerate(rows):
        if table is not None:
            prompt = dataclasses.replace(prompt, features=table[slot // size, index])
        rows = tuple(serve.Row(question, frame) for _ in range(engine.config.episodes))
        yield Seat(number, question, prompt, rows)


def in_turn(groups: Iterable[int], engine: "Engine") -> list[list[int]]:
    """Groups as they come and go together: equally many of each part, as long as there are any."""
    run = engine.programs
    dealt, together = [[] for _ in range(run.parts)], engine.config.arriving // run.parts
    for group in groups:
        dealt[run.part_of(group)[0]].append(group)
    begins = range(0, max(map(len, dealt)), together)
    return [[g for part in dealt for g in part[at : at + together]] for at in begins]


def due(engine: "Engine", snapshot: serve.Snapshot, taken: Mapping[int, Seat]) -> list[list[int]]:
    """The groups that are to leave, as many at a time as come in together.

    Fewer leave only where no row has anything more to do.
    """
    leaving = in_turn((group for group in snapshot.finished if group in taken), engine)
    at_rest = not snapshot.decodes and not snapshot.waiting
    return [one for one in leaving if at_rest or len(one) == engine.config.arriving]


def leave(
    engine: "Engine", state: DecodeState, taken: dict[int, Seat], groups: Sequence[int]
) -> Iterator[tuple[int, Group]]:
    """Takes finished groups out of their seats; yields the number of each question and its record.

    At most as many as come in together.
    """
    padded = np.resize(np.array(groups, np.int32), engine.config.arriving)
    written = jax.device_get(engine.programs.written(state, padded))
    for at, group in enumerate(groups):
        seat = taken.pop(group)
        episodes = tuple(_episode(engine, written, (at, g), row) for g, row in enumerate(seat.rows))
        yield seat.number, Group(seat.question, seat.prompt, episodes)


def _episode(engine: "Engine", written: Written, at: tuple[int, int], row: serve.Row) -> Episode:
    filled = slice(1, int(written.length[at]))  # slot 0 is the last prompt token
    tokens, source = written.tokens[at][filled], written.source[at][filled]
    text = engine.tokenizer.decode(tokens[source != Source.IMAGE])
    return Episode(
        tokens=tokens,
        source=source,
        positions=written.positions[(slice(None), *at, filled)],
        logp=written.logp[at][filled],
        looks=tuple(row.looks),
        stop=STOPS[Status(int(written.status[at]))],
        text=text,
        answer=chat.answer_in(text),
    )
