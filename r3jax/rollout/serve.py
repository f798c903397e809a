"""Serving looks: from the boxes of waiting rows to what is inserted after them.

Everything here is on the host, between two calls of the decode program.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from r3jax import buckets, positions
from r3jax.arrays import Array
from r3jax.data import chat, frames, looks
from r3jax.patches import VisionBatch
from r3jax.records import Look, LookOutcome, Question
from r3jax.regions import RegionBatch
from r3jax.rollout import crops, insertion
from r3jax.rollout.state import DecodeState, Rows, Status

if TYPE_CHECKING:
    from r3jax.rollout.engine import Engine

Place = tuple[int, int]  # group and episode of a row


@dataclasses.dataclass
class Row:
    """The host's side of one row. The engine owns it; only this module changes it."""

    question: Question
    frame: frames.Frame | None
    budget: int  # slots that it may fill
    looks: list[Look] = dataclasses.field(default_factory=list)
    read: int = 1  # slots whose text has been read; slot 0 is the last prompt token


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What the host knows of the rows after a decode call: length, next_position and status [B, G],
    and how long rows have waited, as in a `DecodeState`."""

    length: np.ndarray
    next_position: np.ndarray
    status: np.ndarray
    waited: int

    @property
    def waiting(self) -> tuple[Place, ...]:
        """The rows that have closed a box."""
        return tuple((int(b), int(g)) for b, g in np.argwhere(self.status == Status.BOX))

    @property
    def decodes(self) -> bool:
        """Whether any row has more to sample now."""
        return bool((self.status == Status.DECODING).any())

    @property
    def finished(self) -> tuple[int, ...]:
        """The groups of which every row has stopped."""
        done = (self.status > Status.BOX) & (self.status < Status.EMPTY)
        return tuple(int(b) for b in np.flatnonzero(done.all(axis=1)))


def read(rows: Rows) -> Snapshot:
    """Fetches what the host needs of all rows from the device."""
    length, next_position, status, waited = jax.device_get(rows)
    return Snapshot(length, next_position, status, int(waited))


def reach(snapshot: Snapshot, look_tokens: int) -> int:
    """How many slots a row may need next: for an insertion where it waits, else for a token."""
    more = np.where(snapshot.status == Status.BOX, look_tokens, 1)
    going = np.isin(snapshot.status, (Status.DECODING, Status.BOX))
    return int(np.where(going, snapshot.length + more, 0).max())


def in_chunks(engine: "Engine", waiting: Iterable[Place]) -> Iterator[Sequence[Place]]:
    """Splits waiting rows so that the crops of each chunk fit the largest crop bucket."""
    size, parts = most_at_once(engine.buckets), _by_part(engine, waiting)
    for begin in range(0, max(map(len, parts)), size):
        yield [at for part in parts for at in part[begin : begin + size]]


def _by_part(engine: "Engine", places: Iterable[Place]) -> list[list[Place]]:
    """Rows by the part of the groups that they belong to."""
    parts = [[] for _ in range(engine.programs.parts)]
    for at in places:
        parts[engine.programs.part_of(at[0])[0]].append(at)
    return parts


def most_at_once(shapes: buckets.Buckets) -> int:
    """How many looks of a part of the groups are served together."""
    return max(bucket.rows for bucket in shapes.crops)


def lines(engine: "Engine", bucket: buckets.ImageBucket) -> int:
    """How many rows of a part are served together with crops in this bucket."""
    return min(bucket.rows, _rows_of_part(engine))


def nothing(engine: "Engine", bucket: buckets.ImageBucket, parts: int) -> insertion.Insertion:
    """An insertion that changes no row of so many parts, for crops in this bucket."""
    tokens, beyond = engine.buckets.look_tokens, _rows_of_part(engine)
    return insertion.empty(parts * lines(engine, bucket), tokens, beyond)


def stopping(engine: "Engine", chunk: Sequence[Place]) -> insertion.Insertion:
    """An insertion that stops the rows of a chunk."""
    run, bucket = engine.programs, max(engine.buckets.crops, key=lambda bucket: bucket.rows)
    inserted = nothing(engine, bucket, run.parts)
    for number, part in enumerate(_by_part(engine, chunk)):
        for line, at in enumerate(part, number * lines(engine, bucket)):
            inserted.row[line] = run.part_of(at[0])[1] * engine.config.episodes + at[1]
            inserted.status[line] = Status.STOPPED
    return inserted


def _rows_of_part(engine: "Engine") -> int:
    return engine.programs.groups // engine.programs.parts * engine.config.episodes


def asking(engine: "Engine", chunk: Sequence[Place]) -> np.ndarray:
    """The rows of a chunk as `Programs.recent` takes them, int32 [X, 2]."""
    places = np.zeros((engine.programs.parts * most_at_once(engine.buckets), 2), np.int32)
    places[: len(chunk)] = np.reshape(chunk, (-1, 2))
    return places


def new_text(
    engine: "Engine",
    state: DecodeState,
    snapshot: Snapshot,
    chunk: Sequence[Place],
    rows: Mapping[Place, Row],
) -> dict[Place, str]:
    """Fetches what each row of `chunk` has written since its last look: nothing else of the rows
    comes to the host. Of other hosts' rows nothing is made."""
    tokens = np.asarray(engine.programs.recent(state, asking(engine, chunk)))
    own = [(at, row) for at, row in zip(chunk, tokens) if at in rows]
    new = [int(snapshot.length[at]) - rows[at].read for at, _ in own]
    return {
        at: engine.tokenizer.decode(row[max(len(row) - count, 0) :])
        for (at, row), count in zip(own, new)
    }


@dataclasses.dataclass(frozen=True)
class Served:
    """What is inserted after rows of this host's parts, the crops to encode for it, and where the
    features of each row's crop will be: its part among them, and numbers in the part's table."""

    insertion: insertion.Insertion
    crops: VisionBatch
    features: Mapping[Place, tuple[int, np.ndarray]]


class _Answer(NamedTuple):
    """What follows a row's box: tokens with their source and positions [3, T], the row's next
    position and status after them, and the look whose crop is among them, if there is one."""

    tokens: np.ndarray
    source: np.ndarray
    positions: np.ndarray
    next_position: int
    status: Status
    look: Look | None


def insert_looks(
    engine: "Engine",
    snapshot: Snapshot,
    chunk: Sequence[Place],
    text: Mapping[Place, str],
    rows: Mapping[Place, Row],
    originals: crops.Originals,
) -> Served:
    """Takes the looks that the rows of a chunk ask for; `text` is what this host's have written.

    `originals` have each group's image at its number.
    """
    run = engine.programs
    parts, most = run.share.of(run.parts), max(map(len, _by_part(engine, chunk)))
    ours = _by_part(engine, text)[parts.start : parts.stop]
    answers = {at: _answer_box(engine, snapshot, at, text[at], rows[at]) for at in text}
    shown = [[at for at in part if answers[at].look] for part in ours]
    asked = [[(run.part_of(at[0])[1], answers[at].look) for at in part] for part in shown]

    def cut(planes: Array, regions: RegionBatch, *how) -> VisionBatch:
        return run.cut(planes, run.place(regions), *how)

    # Of every host, the bucket has a row for each line: what is waiting all of them know.
    choices = [bucket for bucket in engine.buckets.crops if lines(engine, bucket) >= most]
    vision, bucket, index = crops.cut(originals, asked, choices, "crops of a rollout", cut)
    where = {
        at: (number, features)
        for number, (part, found) in enumerate(zip(shown, index, strict=True))
        for at, features in zip(part, found, strict=True)
    }
    inserted = nothing(engine, bucket, len(parts))
    for number, part in enumerate(ours):
        assert len(part) <= lines(engine, bucket), "a line of another part would be written"
        for line, at in enumerate(part, number * lines(engine, bucket)):
            inserted.row[line] = run.part_of(at[0])[1] * engine.config.episodes + at[1]
            _write(inserted, line, answers[at])
            if at in where:
                # A crop's tokens stand between its two framing tokens.
                _, features = where[at]
                inserted.feature_index[line, 1 : 1 + len(features)] = features
    return Served(inserted, vision, where)


def keep_features(served: Served, rows: Mapping[Place, Row], table: np.ndarray) -> None:
    """Leaves the features of each row's newest crop in its look; `table` are the encoded crops'."""
    for at, where in served.features.items():
        rows[at].looks[-1] = dataclasses.replace(rows[at].looks[-1], features=table[where])


def _answer_box(engine: "Engine", snapshot: Snapshot, at: Place, text: str, row: Row) -> _Answer:
    """What follows the box that a row has closed; the row keeps its look."""
    length, start = int(snapshot.length[at]), int(snapshot.next_position[at])
    look = _take_look(engine, text, row)
    if look.outcome is LookOutcome.TOO_MANY:
        row.looks.append(look)
        return _without_tokens(start, Status.STOPPED)
    if look.outcome is LookOutcome.OK:
        grids = [crops.grid_of(look)]
        tokens, source = chat.look_tokens(grids[0][0] * grids[0][1], engine.tokenizer)
    else:
        grids = []
        tokens, source = chat.failed_look_tokens(look.outcome, engine.tokenizer)
    if length + len(tokens) >= row.budget:
        return _without_tokens(start, Status.FULL)  # no room to go on after it: it is not made
    where, after = positions.rope_index(tokens, grids, engine.tokenizer.ids.image_pad, start)
    row.looks.append(look)
    row.read = length + len(tokens)
    return _Answer(tokens, source, where, after, Status.DECODING, look if grids else None)


def _take_look(engine: "Engine", text: str, row: Row) -> Look:
    rules = engine.form.look_rules
    if row.frame is None:
        return looks.without_image(text, row.looks, rules)
    return engine.look(text, row.question.images[0], row.frame, row.looks, rules)


def _without_tokens(start: int, status: Status) -> _Answer:
    """Nothing follows: the row is done."""
    none = np.zeros(0, np.int32)
    return _Answer(none, none, np.zeros((3, 0), np.int32), start, status, None)


def _write(inserted: insertion.Insertion, line: int, answer: _Answer) -> None:
    n = len(answer.tokens)
    inserted.tokens[line, :n], inserted.source[line, :n] = answer.tokens, answer.source
    inserted.positions[line, :, :n] = answer.positions
    inserted.count[line], inserted.next_position[line] = n, answer.next_position
    inserted.status[line] = answer.status
