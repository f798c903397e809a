"""Groups of rows as seats of questions: who has which, and what those who leave have written."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from r3jax import batches, shares
from r3jax.data import chat
from r3jax.model.qwen import Policy
from r3jax.phases import Phase, span
from r3jax.records import Episode, Group, Prompt, Question, Source, Stop
from r3jax.rollout import crops, serve
from r3jax.rollout.coming import Built
from r3jax.rollout.programs import Programs
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


@dataclasses.dataclass
class Seats:
    """Which question has which group of rows; more of those that are this host's; and the images
    that looks of the groups are cut from."""

    taken: dict[int, int]
    own: dict[int, Seat]
    originals: crops.Originals


def admit(
    engine: "Engine",
    policy: Policy,
    state: DecodeState,
    built: Built,
    groups: Sequence[int],
    seats: Seats,
) -> DecodeState:
    """Encodes and prefills questions and gives them these groups, as many or more of them: each
    one of the part that the question is dealt to."""
    run, config = engine.programs, engine.config
    width = state.prefix.mask.shape[1]
    if built.prompt_tokens > width:
        state, width = run.widen[built.prompt_tokens](state), built.prompt_tokens
    own, groups = run.share.of(config.arriving), groups[: len(built.numbers)]
    missing = config.arriving - len(groups)
    image_id = engine.tokenizer.ids.image_pad
    batch = batches.pad_prompts(built.prompts, built.shown, width, image_id, len(own))
    keyed, last = np.array(built.keyed, np.int32), np.zeros((2, len(own)), np.int32)
    for slot, prompt in enumerate(built.prompts):
        last[:, slot] = prompt.tokens[-1], prompt.positions[0, -1]
    with span(Phase.PREFILL) as done:
        features = run.encode(policy, run.place(built.images))
        prompts = shares.deal(batch, run.places.prompts, run.share)
        last_token, last_position = run.place(tuple(last))
        arrivals = Arrivals(
            group=np.array([*_within(run, groups), *[run.groups] * missing], np.int32),
            prefix=run.prefill(policy, prompts, features),
            last_token=last_token,
            last_position=last_position,
            keys=run.keys(built.seed, built.step, np.resize(keyed, config.arriving)),
            asked=built.asked,
        )
        state = done(run.admit(state, arrivals))
        ours = groups[own.start : own.stop]
        pictures = {g: q.images[0] for g, q in zip(ours, built.questions) if q.images}
        dealt = run.put, run.parts, run.share, run.place
        seats.originals = crops.put(seats.originals, groups, pictures, *dealt)
    table = shares.own(features) if engine.keep_features else None
    seats.taken.update(zip(groups, built.numbers))
    seats.own.update(zip(ours, _seats(engine, built, own.start, table)))
    return state


def _within(run: Programs, groups: Sequence[int]) -> list[int]:
    """The numbers of groups within their parts."""
    return [run.part_of(group)[1] for group in groups]


def _seats(engine: "Engine", built: Built, first: int, table: np.ndarray | None) -> Iterator[Seat]:
    size = engine.config.arriving // engine.programs.parts
    numbers = built.numbers[first:]
    rows = zip(numbers, built.questions, built.prompts, built.frames, built.shown)
    most = max(engine.buckets.suffix_tokens) + 1  # slot 0 is the last prompt token
    for slot, (number, question, prompt, frame, index) in enumerate(rows):
        budget = most if built.asked is None else min(most, int(built.asked.budget[slot]))
        if table is not None:
            prompt = dataclasses.replace(prompt, features=table[slot // size, index])
        rows = tuple(serve.Row(question, frame, budget) for _ in range(engine.config.episodes))
        yield Seat(number, question, prompt, rows)


def in_turn(groups: Iterable[int], engine: "Engine") -> list[list[int]]:
    """Groups as they come and go together: equally many of each part, as long as there are any."""
    run = engine.programs
    dealt, together = [[] for _ in range(run.parts)], engine.config.arriving // run.parts
    for group in groups:
        dealt[run.part_of(group)[0]].append(group)
    begins = range(0, max(map(len, dealt)), together)
    return [[g for part in dealt for g in part[at : at + together]] for at in begins]


def due(engine: "Engine", snapshot: serve.Snapshot, taken: Mapping[int, int]) -> list[list[int]]:
    """The groups that are to leave, as many at a time as come in together.

    Fewer leave only where no row has anything more to do.
    """
    leaving = in_turn((group for group in snapshot.finished if group in taken), engine)
    at_rest = not snapshot.decodes and not snapshot.waiting
    return [one for one in leaving if at_rest or len(one) == engine.config.arriving]


def leave(
    engine: "Engine", state: DecodeState, seats: Seats, groups: Sequence[int]
) -> tuple[int, list[tuple[int, Group]]]:
    """Takes finished groups, at most as many as come in together, out of their seats.

    Returns how many tokens they sampled, and of those that are this host's the number of each
    question and its record.
    """
    padded = np.resize(np.array(groups, np.int32), engine.config.arriving)
    written = jax.device_get(engine.programs.written(state, padded))
    filled = np.arange(written.source.shape[-1]) < written.length[: len(groups), :, None]
    sampled = int(((written.source[: len(groups)] == Source.SAMPLED) & filled).sum())
    left = []
    for at, group in enumerate(groups):
        seats.taken.pop(group)
        if seat := seats.own.pop(group, None):
            rows = enumerate(seat.rows)
            episodes = tuple(_episode(engine, written, (at, g), row) for g, row in rows)
            left.append((seat.number, Group(seat.question, seat.prompt, episodes)))
    return sampled, left


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
