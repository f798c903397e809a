"""Making traces: questions of a source go through stages, each with a file of its decisions.

output/
  settings.json      what everything follows from; other settings are refused
  questions.jsonl    distinct.jsonl  traces.jsonl  answers.jsonl  regions.jsonl  chains.jsonl
  kept.sqlite        what endpoints have said, by request
  images/  crops/    of the questions, and of the traces that passed
  sft.jsonl          the traces, in the published format
  report.json  report.html
  timings.jsonl      requests a second of each stage, each time that it asked

Stopped anywhere, the same call goes on, asks nothing again that was answered, and ends with the
same files as one that was not stopped, but for the timings.
"""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from r3jax import added, lines, paths
from r3jax.config import build
from r3jax.curate import (
    collecting,
    duplicates,
    filters,
    hints,
    making,
    report,
    result,
    settings,
    stages,
    store,
    teacher,
)
from r3jax.curate.filters import AskedConfig
from r3jax.curate.making import MakeConfig
from r3jax.curate.samples import Decision, Verdict
from r3jax.curate.teacher import TeacherConfig
from r3jax.data import snapshots, tables
from r3jax.data.tables import TableRow
from r3jax.endpoint import Endpoint
from r3jax.evaluate import readers
from r3jax.progress import Progress
from r3jax.reward import endpoint_judge
from r3jax.run import sieve_page, stop_signal

SETTINGS, REPORT, PAGE, KEPT = "settings.json", "report.json", "report.html", "kept.sqlite"
BENCHMARKS, TIMINGS = "benchmarks.jsonl", "timings.jsonl"
SHOWN = {
    "kept": "kept",
    "dropped": "dropped",
    "undecided": "undecided",
    "rate": "requests/s",
    "dollars": "$",
}
Decide = Callable[[Iterator], Iterator[Decision]]


def read(values: Mapping) -> MakeConfig:
    """The config of these fields. Raises: ValueError naming a field that is missing or wrong."""
    return build(MakeConfig, values)


def make(config: MakeConfig, output: str | Path) -> report.Report | None:
    """Makes traces, or goes on making them; None where a signal has stopped it.

    Raises: ValueError where the output was begun with other settings or lies in a bucket.
    """
    output = paths.of(output)
    if paths.in_bucket(output):
        raise ValueError(f"{output}: traces are made on disks, where answers can be kept")
    described = making.describe(config)
    fingerprint = settings.keep(output / SETTINGS, described)
    with stop_signal.StopSignal() as stop:
        maker = _Maker(config, output, lambda: stop.asked)
        counts = maker.run()
        if stop.asked:
            return None
    last = output / f"{counts[-1].name}.jsonl"
    written = result.write(output, stages.kept(last), config, fingerprint)
    prices = {"traces": config.teacher.price}
    prices |= {name: one.price for name, one in maker.asked.items() if one is not None}
    made = report.Report(
        fingerprint=fingerprint,
        traces=written,
        stages=tuple(
            report.StageReport.of(count, prices.get(count.name, (0.0, 0.0))) for count in counts
        ),
        not_run=tuple(name for name in report.WHAT if name not in {one.name for one in counts}),
    )
    paths.write_whole(output / REPORT, json.dumps(made.as_json(), indent=2) + "\n")
    paths.write_whole(output / PAGE, sieve_page.render(made, counts, output, last, described))
    return made


class _Maker:
    """Runs the stages of one output in order; `stops` says whether to leave off."""

    def __init__(self, config: MakeConfig, output: Path, stops: Callable[[], bool]):
        self.config, self.output, self.stops = config, output, stops
        self.asked: dict[str, AskedConfig | None] = {
            "answers": config.judge,
            "regions": config.recognizer,
            "chains": config.judge,
        }
        self.counts: list[stages.Count] = []
        for folder in (store.IMAGES, store.CROPS):
            store.clear(output / folder)

    def run(self) -> list[stages.Count]:
        """What each stage has counted."""
        config, images = self.config, self.output / store.IMAGES
        rows = _rows(config)
        beside = paths.of(config.images) if config.images else config.files()[0].parent
        boxes = hints.read_file(paths.of(config.boxes)) if config.boxes else {}
        self._stage(
            "questions",
            rows,
            lambda asked: collecting.collect(asked, config.source, beside, boxes, images),
        )
        self._expect_questions()
        self._distinct()
        taught = self._endpoint(config.teacher, teacher.connect)
        self._stage(
            "traces",
            None,
            lambda asked: teacher.teach(taught, config.teacher, images, asked),
            taught,
            config.teacher.price,
        )
        self._filter("answers", endpoint_judge.can_read, filters.check_answers)
        if config.recognizer is not None:
            check = functools.partial(filters.check_regions, folder=images)
            self._filter("regions", filters.can_read_thing, check)
        if config.judge is not None:
            self._filter("chains", filters.can_read, filters.check_chains)
        return self.counts

    def _expect_questions(self) -> None:
        """Raises: ValueError where every row of the source was dropped."""
        count = self.counts[-1] if self.counts else stages.Count("questions")
        if count.entered and count.entered == count.verdicts[Verdict.DROPPED]:
            first = next(iter(count.examples.values()))[0]
            raise ValueError(
                f"data: none of {count.entered} rows of {self.config.data} can be used as "
                f"{self.config.source}; the first: {first.reason}: {first.told}"
            )

    def _distinct(self) -> None:
        kept, benchmarks = duplicates.Known(), duplicates.Known()
        for one in self._benchmark_prints() if not self.stops() else ():
            benchmarks.add(one)
        self._stage(
            "distinct",
            None,
            lambda asked: collecting.without_repeats(asked, kept, benchmarks),
            also=lambda decision: collecting.remember(decision, kept),
        )

    def _benchmark_prints(self) -> Iterator[duplicates.Print]:
        """Those of all benchmarks, which are made once."""
        path, benchmarks = self.output / BENCHMARKS, self.config.benchmark_paths()
        if benchmarks and not path.is_file():
            asked = [one for name, place in benchmarks for one in _pictured(name, place)]
            print(f"benchmarks: {len(asked)} images of questions are compared with")
            found = map(dataclasses.asdict, collecting.prints_of(asked))
            paths.write_whole(path, "".join(map(lines.line, found)))
        for values, _ in lines.read(path):
            yield duplicates.Print(**values)

    def _filter(self, name: str, accepts: Callable[[str], bool], check: Callable) -> None:
        """A stage that asks an endpoint, if there is one, for replies that `accepts` takes."""
        asked, endpoint, price = self.asked[name], None, (0.0, 0.0)
        if asked is not None:
            connect = functools.partial(_connect, accepts=accepts)
            endpoint, price = self._endpoint(asked, connect), asked.price
        self._stage(name, None, functools.partial(check, endpoint), endpoint, price)

    def _endpoint(self, config: AskedConfig | TeacherConfig, connect: Callable) -> Endpoint:
        kept = self.config.kept or str(self.output / KEPT)
        endpoint = dataclasses.replace(config.endpoint, kept=kept)
        options = {"stops": self.stops, "must_keep": True}
        return connect(dataclasses.replace(config, endpoint=endpoint), **options)

    def _stage(
        self,
        name: str,
        items: list[TableRow] | None,
        decide: Decide,
        endpoint: Endpoint | None = None,
        price: tuple[float, float] = (0.0, 0.0),
        also: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        """Runs a stage on `items`, or on what the stage before it has kept."""
        if self.stops():
            return
        count, began = stages.Count(name), time.monotonic()
        total = self.counts[-1].verdicts[Verdict.KEPT] if items is None else len(items)
        if items is None:
            items = stages.kept(self.output / f"{self.counts[-1].name}.jsonl")
        with Progress(name, total, SHOWN) as progress:

            def seen(decision: Decision) -> None:
                count.add(decision)
                also(decision)
                numbers = {verdict.value: count.verdicts[verdict] for verdict in Verdict}
                if endpoint is not None:
                    numbers["rate"] = endpoint.answered / max(time.monotonic() - began, 1e-3)
                    numbers["dollars"] = report.dollars(count.usage, price)
                progress.update(count.entered - 1, numbers)

            path = self.output / f"{name}.jsonl"
            unreached = stages.run(path, self._until_stopped(items), decide, seen)
            count.verdicts[Verdict.UNDECIDED] += unreached
        if endpoint is not None and endpoint.answered:
            self._note_time(name, endpoint.answered, time.monotonic() - began)
        self.counts.append(count)

    def _note_time(self, name: str, requests: int, seconds: float) -> None:
        """Adds a line about what was asked just now to a file of its own: clocks differ."""
        noted = {"stage": name, "requests": requests, "seconds": round(seconds, 3)}
        with contextlib.closing(added.add_to(self.output / TIMINGS)) as file:
            file.write(lines.line(noted | {"requests_per_s": round(requests / seconds, 3)}))

    def _until_stopped(self, items: Iterable) -> Iterator:
        for item in items:
            if self.stops():
                return
            yield item


def _pictured(name: str, path: Path) -> list[collecting.Pictured]:
    """The questions of a benchmark that have an image. Raises: ValueError where none has."""
    if name:
        items = readers.read(name, path)
        found = [collecting.Pictured(one.where, one.text, i) for one in items for i in one.images]
    else:
        rows = tables.read(*snapshots.files(path))
        found = [one for row in rows for one in collecting.pictured(row)]
    if not found:
        raise ValueError(
            f"benchmarks: no row of {path} has a question and an image; name the benchmark, as "
            f"NAME={path}, or a file that has them"
        )
    return found


def _connect(config: AskedConfig, **options) -> Endpoint:
    return Endpoint(config.endpoint, **options)


def _rows(config: MakeConfig) -> list[TableRow]:
    """The rows of the source, or so many of them as were asked for, in their order."""
    rows = tables.read(*config.files())
    if config.limit is None or config.limit >= len(rows):
        return rows
    drawn = np.random.default_rng(config.seed).choice(len(rows), config.limit, replace=False)
    return [rows[number] for number in sorted(drawn)]
