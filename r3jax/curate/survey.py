"""What a file of rows holds, counted row by row: sizes, looks, lengths, and what is bad in it."""

import array
import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from r3jax.curate import crop_files, replay, rows
from r3jax.curate.chunks import chunked
from r3jax.curate.crop_files import Likeness
from r3jax.data import frames, image_sizes, images, vlir
from r3jax.data.json_rows import RowError
from r3jax.patches import FACTOR
from r3jax.records import Look

AT_A_TIME = 512  # rows whose images' headers are read together
EXAMPLES = 5  # messages that are kept of each fault


@dataclasses.dataclass(frozen=True)
class Checked:
    """A row whose image has a header and whose boxes give crops: its frame and its looks, which
    have no pixels yet."""

    found: rows.Found
    frame: frames.Frame
    taken: tuple[Look, ...]


class Survey:
    """Counts of a file; `sample` holds up to `kept` of its good rows, drawn by `seed`, each as
    likely as any other, in random order."""

    def __init__(self, kept: int, seed: int):
        self.format, self.rows, self.good = "", 0, 0
        self.faults: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, list[rows.Found]] = {}
        self.looks: collections.Counter[int] = collections.Counter()
        self.sources: collections.Counter[str] = collections.Counter()
        self.sample: list[Checked] = []
        self.numbers: dict[str, array.array] = collections.defaultdict(lambda: array.array("l"))
        self._kept, self._rng = kept, np.random.default_rng(seed)

    def add(self, one: Checked | rows.Found) -> None:
        """Counts a row, a good one or one with an error."""
        found = one.found if isinstance(one, Checked) else one
        self.format = self.format or found.format
        self.rows += found.line > 0
        if isinstance(one, Checked):
            self._add_good(one)
            return
        self.faults[found.error.fault] += 1
        examples = self.examples.setdefault(found.error.fault, [])
        if len(examples) < EXAMPLES:
            examples.append(found)

    def _add_good(self, one: Checked) -> None:
        row = one.found.row
        self.good += 1
        for name, number in measures(one).items():
            self.numbers[name].append(number)
        if isinstance(row, vlir.SftRow):
            self.looks[row.num_crops] += 1
        else:
            self.sources[row.source] += 1
        # A reservoir: row n takes a place with probability kept / n.
        place = int(self._rng.integers(self.good))
        if len(self.sample) < self._kept:
            self.sample.append(one)
            self.sample[place], self.sample[-1] = self.sample[-1], self.sample[place]
        elif place < self._kept:
            self.sample[place] = one


def measures(one: Checked) -> dict[str, int]:
    """The numbers of a good row that quantiles are shown of."""
    row, frame = one.found.row, one.frame
    found = {
        "image width": frame.original_width,
        "image height": frame.original_height,
        "image tokens": frame.num_image_tokens,
        "question characters": len(row.question),
    }
    if isinstance(row, vlir.SftRow):
        found["reply characters"] = sum(map(len, row.segments))
        found["crop tokens"] = sum(crop_tokens(look) for look in one.taken)
    return found


def crop_tokens(look: Look) -> int:
    """How many tokens of the language model a crop becomes."""
    return look.region.height * look.region.width // FACTOR**2


def check(found: Iterable[rows.Found]) -> Iterable[Checked | rows.Found]:
    """Reads the headers of the rows' images and takes their looks; what fails gets its error."""
    for batch in chunked(found, AT_A_TIME):
        sizes = image_sizes.read_sizes(one.row.image for one in batch if one.row is not None)
        for one in batch:
            yield one if one.row is None else _check(one, sizes)


def _check(found: rows.Found, sizes: Mapping) -> Checked | rows.Found:
    row = found.row
    try:
        if row.image not in sizes:
            raise _unreadable(row)
        frame = replay.frame_of(row.where, *sizes[row.image], row.boxes_in)
        is_trace = isinstance(row, vlir.SftRow)
        return Checked(found, frame, replay.take_looks(row, frame) if is_trace else ())
    except RowError as error:
        return dataclasses.replace(found, row=None, error=error)


def _unreadable(row: vlir.SftRow | vlir.RlRow) -> RowError:
    """Why an image has no size."""
    try:
        images.open_image(row.image)
    except images.ImageError as error:
        return vlir.image_error(row.where, error)
    return RowError(f"{row.where}: image {row.image}: its header says no size", "image damaged")


@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Least, median, 95 %, most and sum of some numbers."""

    least: int
    median: int
    high: int
    most: int
    total: int

    @classmethod
    def of(cls, numbers: Sequence[int]) -> "Quantiles":
        """Those of at least one number."""
        found = np.quantile(np.asarray(numbers), (0, 0.5, 0.95, 1), method="nearest")
        return cls(*map(int, found), int(np.sum(numbers)))


@dataclasses.dataclass(frozen=True)
class CropCheck:
    """What comparing crop files has shown: files by likeness, messages about some that differ, and
    of how many rows."""

    counts: Mapping[Likeness, int]
    told: tuple[str, ...]
    rows: int


def compare_crops(sample: Sequence[Checked], root: str | pathlib.Path) -> CropCheck:
    """Compares the crop files of rows, below `root`, with crops cut anew from the originals."""
    counts, told = collections.Counter(), []
    for one in sample:
        try:
            image = images.open_image(one.found.row.image)
        except images.ImageError as error:
            told.append(f"{one.found.where}: {error}")
            counts[Likeness.UNREADABLE] += len(one.taken)
            continue
        for name, look in zip(one.found.crops, one.taken):
            likeness, difference = crop_files.compare(
                name, root, images.cut_crop(image, look.region)
            )
            counts[likeness] += 1
            if likeness is not Likeness.AGREES:
                levels = "" if math.isnan(difference) else f", {difference:.1f} levels apart"
                told.append(f"{one.found.where}: {name or '(no name)'}: {likeness}{levels}")
    return CropCheck(dict(counts), tuple(told[:EXAMPLES]), len(sample))


def sequence_lengths(
    sample: Sequence[Checked], count: Callable[[str], int]
) -> dict[str, Quantiles]:
    """Lengths of rows in tokens, where `count` says how many a text has."""
    numbers = collections.defaultdict(list)
    for one in sample:
        row = one.found.row
        texts = row.segments if isinstance(row, vlir.SftRow) else ()
        question, reply = count(row.question), sum(map(count, texts))
        crops = sum(crop_tokens(look) + 2 for look in one.taken)
        numbers["question tokens"].append(question)
        if texts:
            numbers["reply tokens"].append(reply)
        numbers["tokens in all"].append(question + reply + crops + one.frame.num_image_tokens + 2)
    return {name: Quantiles.of(values) for name, values in numbers.items()}
