"""The stages that come before a teacher is asked: questions of a source, without those that other
questions or benchmarks repeat."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from r3jax.curate import duplicates, hints, samples, sources, store
from r3jax.curate.chunks import chunked
from r3jax.curate.duplicates import Known, Print
from r3jax.curate.samples import Decision, Sample
from r3jax.data import images
from r3jax.data.tables import TableError, TableRow

HASHED_AT_ONCE = 32
_QUESTIONS = ("question", "text", "Question", "query")
_IMAGES = ("image", "decoded_image", "image_1", "image_path", "bytes")


def collect(
    rows: Iterable[TableRow],
    source: str,
    images_in: pathlib.Path,
    boxes: Mapping[str, Mapping[str, Any]],
    folder: pathlib.Path,
) -> Iterator[Decision]:
    """Rows of a source as samples, their images copied into `folder`; what cannot be used is
    dropped. `boxes` are further columns by image."""

    def take(row: TableRow) -> Decision:
        blank = Sample(row.where, "", source, "", "", (), "")
        try:
            return Decision(_sample(row, source, images_in, boxes, folder))
        except images.ImageError as error:
            return samples.dropped(blank, f"image {error.fault.replace('_', ' ')}", str(error))
        except sources.NoAnswer as error:
            return samples.dropped(blank, "no right answer", str(error))
        except TableError as error:
            return samples.dropped(blank, "bad row", str(error))

    with ThreadPoolExecutor() as pool:
        for batch in chunked(rows, HASHED_AT_ONCE):
            yield from pool.map(take, batch)


def _sample(
    row: TableRow,
    source: str,
    images_in: pathlib.Path,
    boxes: Mapping[str, Mapping[str, Any]],
    folder: pathlib.Path,
) -> Sample:
    found = sources.read(row, source, images_in)
    image = images.open_image(found.image)
    values = {**found.values, **boxes.get(hints.image_of(found.values), {})}
    return Sample(
        where=row.where,
        id=sources.sample_id(found.source, found.source_id, row.where),
        source=found.source,
        source_id=found.source_id,
        question=found.question,
        answers=found.answers,
        image=store.keep_image(found.image, folder),
        image_hash=duplicates.hash_image(image),
        hints=hints.find(values, *image.shape[:2]),
    )


def without_repeats(asked: Iterable[Sample], kept: Known, benchmarks: Known) -> Iterator[Decision]:
    """Drops samples about an image of a benchmark, and those that ask what a kept sample asks about
    an image that looks the same. `kept` are those kept so far; whoever is told of a decision adds
    to it (`remember`)."""
    for sample in asked:
        own = print_of(sample)
        if repeated := benchmarks.like(own):
            same = [one for one in repeated if one.words == own.words]
            reason = "question of a benchmark" if same else "image of a benchmark"
            yield samples.dropped(sample, reason, (same or repeated)[0].name)
            continue
        same = [one for one in kept.like(own) if one.words == own.words]
        if same:
            yield samples.dropped(sample, "near duplicate", same[0].name)
        elif sample.id in kept.names:
            yield samples.dropped(sample, "name twice", sample.id)
        else:
            yield Decision(sample)


def remember(decision: Decision, kept: Known) -> None:
    """Makes a sample that was kept known."""
    if decision.verdict is samples.Verdict.KEPT:
        kept.add(print_of(decision.sample))


def print_of(sample: Sample) -> Print:
    """What a sample is recognised by."""
    return Print(sample.id, sample.image_hash, duplicates.words_of(sample.question))


@dataclasses.dataclass(frozen=True)
class Pictured:
    """A question of a benchmark about an image."""

    where: str
    question: str
    image: images.ImageSource


def pictured(row: TableRow) -> list[Pictured]:
    """The question of a row in whatever columns benchmarks have it, once for each of its images;
    none where it has no question or no image."""
    question = next((row.values[name] for name in _QUESTIONS if row.values.get(name)), None)
    value = next((row.values[name] for name in _IMAGES if row.values.get(name)), ())
    values = value if isinstance(value, list | tuple) else [value]
    if question is None:
        return []
    return [Pictured(row.where, str(question), row.image(one)) for one in values]


def prints_of(benchmark: Iterable[Pictured]) -> Iterator[Print]:
    """What the questions of a benchmark are recognised by. Raises: images.ImageError for an image
    that cannot be used: what repeats it would pass."""

    def take(one: Pictured) -> Print:
        hashed = duplicates.hash_image(images.open_image(one.image))
        return Print(one.where, hashed, duplicates.words_of(one.question))

    with ThreadPoolExecutor() as pool:
        for batch in chunked(benchmark, HASHED_AT_ONCE):
            yield from pool.map(take, batch)
