"""Serving looks: from the boxes of waiting rows to what is inserted after them.

Everything here is on the host, between two calls of the decode program.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from r3jax import batches, buckets, patches, positions
from r3jax.arrays import Array
from r3jax.data import chat, frames, looks
from r3jax.data.tokenizer import Tokenizer
from r3jax.patches import FACTOR, VisionBatch
from r3jax.records import Look, LookOutcome, Question
from r3jax.regions import RegionBatch
from r3jax.rollout import crops
from r3jax.rollout.state import KEEP, DecodeState, Insertion, Rows, Status

if TYPE_CHECKING:
    from r3jax.rollout.engine import Engine

Place = tuple[int, int]  # group and episode of a row


@dataclasses.dataclass
class Row:
    """The host's side of one row. The engine owns it; only this module changes it."""

    question: Question
    frame: frames.Frame
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


def in_chunks(engine: "Engine", waiting: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """Splits waiting rows so that the crops of each chunk fit the largest crop bucket."""
    size, by_part = most_at_once(engine.buckets), [[] for _ in range(engine.programs.parts)]
    for at in waiting:
        by_part[engine.programs.part_of(at[0])[0]].append(at)
    for begin in range(0, max(map(len, by_part)), size):
        yield [at for part in by_part for at in part[begin : begin + size]]


def most_at_once(shapes: buckets.Buckets) -> int:
    """How many looks of a part of the groups are served together."""
    return max(bucket.rows for bucket in shapes.crops)


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


def check_buckets(tokenizer: Tokenizer, form: chat.ChatFormat, shapes: buckets.Buckets) -> None:
    """Raises ValueError where something that a model can ask for would fit no bucket."""
    _check_look_tokens(tokenizer, form, shapes)
    most = max(bucket.rows for bucket in shapes.crops)
    windows, slots = largest_crop(form.look_rules)
    if not any(b.rows == most and b.windows >= windows and b.slots >= slots for b in shapes.crops):
        raise ValueError(
            f"buckets.crops must have one of {most} rows (the most) with at least {windows} "
            f"windows of {slots} slots, what the largest and the thinnest crop take under the look "
            "rules: raise it, or lower the crop's max_pixels or max_aspect"
        )


def largest_crop(rules: looks.LookRules) -> tuple[int, int]:
    """The most windows, and the most slots of a window, that a crop can take."""
    tokens, shapes = rules.crop.max_pixels // FACTOR**2, []
    for short in range(1, math.isqrt(tokens) + 1):
        # Sides rounded to whole tokens can be twice as far apart as those of the box.
        long = min(tokens // short, int(2 * rules.max_aspect * short))
        shapes += [patches.window_shape(short, long), patches.window_shape(long, short)]
    return max(windows for windows, _ in shapes), max(slots for _, slots in shapes)


def _check_look_tokens(
    tokenizer: Tokenizer, form: chat.ChatFormat, shapes: buckets.Buckets
) -> None:
    failed = [o for o in LookOutcome if o not in (LookOutcome.OK, LookOutcome.TOO_MANY)]
    messages = {o: len(chat.failed_look_tokens(o, tokenizer)[0]) for o in failed}
    messages["crop"] = form.look_rules.crop.max_pixels // FACTOR**2 + 2
    longest = max(messages, key=messages.get)
    if messages[longest] > shapes.look_tokens:
        raise ValueError(
            f"buckets.look_tokens is {shapes.look_tokens}, but what follows a box ({longest}) can "
            f"have {messages[longest]} tokens: raise it, or lower the crop's max_pixels"
        )


@dataclasses.dataclass(frozen=True)
class Served:
    """What is inserted after rows, for the whole batch, right in this host's groups; the crops to
    encode for it, of this host's parts; and where the features of each row's crop will be: its
    part among them, and numbers in the part's table."""

    insertion: Insertion
    crops: VisionBatch
    features: Mapping[Place, tuple[int, np.ndarray]]


def insert_looks(
    engine: "Engine",
    snapshot: Snapshot,
    text: Mapping[Place, str],
    rows: Mapping[Place, Row],
    originals: crops.Originals,
) -> Served:
    """Takes the looks that rows ask for in what they have written.

    `originals` have each group's image at its number.
    """
    insertion = nothing(snapshot.status.shape, engine.buckets.look_tokens)
    answers = {
        at: _answer_box(engine, snapshot, at, written, rows[at], insertion)
        for at, written in text.items()
    }
    run = engine.programs
    parts = run.share.of(run.parts)
    shown, asked = [[] for _ in parts], [[] for _ in parts]
    for at, look in answers.items():
        if look is not None:
            part, number = run.part_of(at[0])
            shown[part - parts.start].append(at)
            asked[part - parts.start].append((number, look))

    def cut(planes: Array, regions: RegionBatch, *how) -> VisionBatch:
        return run.cut(planes, run.place(regions), *how)

    given = asked, engine.buckets.crops, "crops of a rollout", cut
    vision, index = crops.cut(originals, *given)
    where = {}
    for number, (part, found) in enumerate(zip(shown, index, strict=True)):
        for at, features in zip(part, found, strict=True):
            # A crop's tokens stand between its two framing tokens.
            insertion.feature_index[at][1 : 1 + len(features)] = features
            where[at] = number, features
    return Served(insertion, vision, where)


def keep_features(served: Served, rows: Mapping[Place, Row], table: np.ndarray) -> None:
    """Leaves the features of each row's newest crop in its look; `table` are the encoded crops'."""
    for at, where in served.features.items():
        rows[at].looks[-1] = dataclasses.replace(rows[at].looks[-1], features=table[where])


def nothing(rows: tuple[int, int], tokens: int) -> Insertion:
    """An insertion of up to `tokens` that changes none of `rows`, groups and episodes."""
    shape = (*rows, tokens)
    return Insertion(
        tokens=np.zeros(shape, np.int32),
        source=np.zeros(shape, np.int8),
        positions=np.zeros((3, *shape), np.int32),
        feature_index=np.full(shape, batches.NO_FEATURE, np.int32),
        count=np.zeros(rows, np.int32),
        next_position=np.zeros(rows, np.int32),
        status=np.full(rows, KEEP, np.int32),
    )


def _answer_box(
    engine: "Engine", snapshot: Snapshot, at: Place, text: str, row: Row, insertion: Insertion
) -> Look | None:
    """Writes what follows the row's box into `insertion`; returns the look if it has a crop."""
    length = int(snapshot.length[at])
    image, rules = row.question.images[0], engine.form.look_rules
    look = engine.look(text, image, row.frame, row.looks, rules)
    if look.outcome is LookOutcome.TOO_MANY:
        row.looks.append(look)
        insertion.status[at] = Status.STOPPED
        return None
    if look.outcome is LookOutcome.OK:
        grids = [crops.grid_of(look)]
        tokens, source = chat.look_tokens(grids[0][0] * grids[0][1], engine.tokenizer)
    else:
        grids = []
        tokens, source = chat.failed_look_tokens(look.outcome, engine.tokenizer)
    n, budget = len(tokens), max(engine.buckets.suffix_tokens) + 1
    if length + n >= budget:  # no room to go on after it: the look is not made
        insertion.status[at] = Status.FULL
        return None
    start = int(snapshot.next_position[at])
    where, after = positions.rope_index(tokens, grids, engine.tokenizer.ids.image_pad, start)
    insertion.tokens[at][:n], insertion.source[at][:n] = tokens, source
    insertion.positions[(slice(None), *at, slice(0, n))] = where
    insertion.count[at], insertion.next_position[at] = n, after
    insertion.status[at] = Status.DECODING
    row.looks.append(look)
    row.read = length + n
    return look if grids else None
