"""A file of traces, questions or conversations as a TFDS data set in ArrayRecord files."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from r3jax import paths
from r3jax.curate import rows, settings, survey
from r3jax.curate.chunks import chunked
from r3jax.data import array_records, shards, traces, vlir
from r3jax.data.json_rows import RowError
from r3jax.progress import Progress
from r3jax.run.inspect_rows import Options

SETTINGS = "conversion.json"
ENCODED_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Converted:
    """A data set: what `data` of a config names, its records, and why rows were left out."""

    name: str
    records: int
    left_out: tuple[str, ...]


def convert(
    file: str | Path,
    output: str | Path,
    options: Options,
    split: str = "train",
    shard_rows: int = 1000,
) -> Converted:
    """Converts the good rows of a file; stopped, the same call goes on, a finished one is read.

    Boxes are rewritten for VLIR's bounds, which ArrayRecord files are read with.

    Raises: ValueError where the output was begun from another file or with other settings; RowError
    at the first bad row if `strict`.
    """
    if shard_rows < 1:
        raise ValueError(f"shard_rows must be at least 1, found {shard_rows}")
    file, output = paths.of(file), paths.of(output)
    now = {
        "file": file.name,
        "content": settings.fingerprint_whole(file),
        "tokens": list(options.tokens),
        "split": split,
        "shard_rows": shard_rows,
    }
    mark = settings.keep(output / SETTINGS, now)
    good, bad = _count(file, options)
    count = -(-good // shard_rows)
    if not count:
        raise ValueError(f"{file} has no good row: `inspect` says why")
    writer = shards.Writer(output, split, count)
    if not writer.is_finished:
        _write(writer, _good(file, options), shard_rows, options.strict)
        description = f"Converted from {file.name} by r3jax; fingerprint {mark}."
        writer.finish(description, {"fingerprint": mark, **now})
    left_out = (*bad, *itertools.chain(*(shard.left_out for shard in writer.done)))
    return Converted(f"{output}:{split}", sum(one.records for one in writer.done), left_out)


def _count(file: Path, options: Options) -> tuple[int, list[str]]:
    """How many rows are good by their texts and their images' headers, and what the others are."""
    good, bad = 0, []
    for one in survey.check(rows.read(file, options.root(file), options.boxes_in)):
        if isinstance(one, survey.Checked):
            good += 1
        elif options.strict:
            raise one.error
        else:
            bad.append(str(one.error))
    return good, bad


def _good(file: Path, options: Options) -> Iterator[vlir.SftRow | vlir.RlRow]:
    for one in survey.check(rows.read(file, options.root(file), options.boxes_in)):
        if isinstance(one, survey.Checked):
            yield one.found.row


def _write(
    writer: shards.Writer, good: Iterator[vlir.SftRow | vlir.RlRow], shard_rows: int, strict: bool
) -> None:
    start = len(writer.done)
    good = itertools.islice(good, start * shard_rows, None)
    with Progress("shards", writer.count, {}, start) as progress:
        for number in range(start, writer.count):
            left_out: list[str] = []
            examples = _encoded(itertools.islice(good, shard_rows), left_out, strict)
            writer.write(examples, left_out)
            progress.update(number, {})


def _encoded(
    good: Iterator[vlir.SftRow | vlir.RlRow], left_out: list[str], strict: bool
) -> Iterator[Mapping]:
    """Rows as records, in order; the message of a row whose image fails goes to `left_out`."""
    with ThreadPoolExecutor() as pool:
        for batch in chunked(good, ENCODED_AT_ONCE):
            for made in pool.map(_encode, batch):
                if not isinstance(made, RowError):
                    yield made
                elif strict:
                    raise made
                else:
                    left_out.append(str(made))


def _encode(row: vlir.SftRow | vlir.RlRow) -> Mapping | RowError:
    try:
        if isinstance(row, vlir.SftRow):
            trace = traces.load_trace(row, vlir.VLIR_BOUNDS)
            question, segments = trace.question, trace.segments
        else:
            question, segments = traces.load_question(row, vlir.VLIR_BOUNDS), ()
    except RowError as error:
        return error
    return array_records.encode(
        id=question.id,
        image=question.images[0],
        question=question.text,
        answer=question.answer or "",
        source=question.source,
        segments=segments,
        trained=row.trained if segments else (),
        num_crops=row.num_crops if segments else 0,
        tags=question.tags,
    )
