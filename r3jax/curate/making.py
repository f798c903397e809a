"""The settings of making traces, and what of them a data set depends on."""

import dataclasses
import pathlib
from typing import Any

from r3jax import paths
from r3jax.curate import prompts, settings
from r3jax.curate.filters import AskedConfig
from r3jax.curate.sources import READERS
from r3jax.curate.teacher import TeacherConfig
from r3jax.data import snapshots


@dataclasses.dataclass(frozen=True)
class MakeConfig:
    """What traces are made of and by whom.

    `data` is a file of the source, or a folder of such files; `images` is where images lie that its
    rows name ("": beside the rows), `boxes` a file of what is where in them. `limit` takes so many
    rows, drawn by `seed`. Filters run where there is somebody to ask: a `recognizer` looks at
    crops, a `judge` at answers that rules cannot compare and at chains. No sample may repeat
    questions or images of `benchmarks`: NAME=PATH where `evaluate` knows the name, or the path of
    any file of rows with questions and images. Answers of all endpoints are kept in
    `kept` ("": in the output).

    Raises: ValueError for a source that is none, a limit below 1, an endpoint with a file of its
    own.
    """

    source: str
    data: str
    teacher: TeacherConfig
    recognizer: AskedConfig | None = None
    judge: AskedConfig | None = None
    benchmarks: tuple[str, ...] = ()
    images: str = ""
    boxes: str = ""
    limit: int | None = None
    seed: int = 0
    kept: str = ""

    def __post_init__(self):
        if self.source not in READERS:
            known = ", ".join(READERS)
            raise ValueError(f"source: expected one of {known}, found {self.source!r}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, found {self.limit}")
        for one in (self.teacher, self.recognizer, self.judge):
            if one is not None and one.endpoint.kept:
                raise ValueError(f"endpoint.kept: name {one.endpoint.kept} as `kept`, for all")

    def files(self) -> list[pathlib.Path]:
        """The files of rows."""
        return snapshots.files(self.data)

    def benchmark_paths(self) -> list[tuple[str, pathlib.Path]]:
        """Name ("" if it has none) and path of each benchmark."""
        parts = (one.rpartition("=") for one in self.benchmarks)
        return [(name, paths.of(path)) for name, _, path in parts]


def describe(config: MakeConfig) -> dict[str, Any]:
    """What the content of a data set follows from: not where endpoints are, nor how often they are
    asked again."""
    boxes = [paths.of(config.boxes)] if config.boxes else []
    return {
        "source": config.source,
        "data": settings.fingerprint_files(config.files()),
        "images": config.images,
        "boxes": settings.fingerprint_files(boxes) if boxes else "",
        "benchmarks": {
            named: settings.fingerprint_files(_files_below(path))
            for named, (_, path) in zip(config.benchmarks, config.benchmark_paths())
        },
        "limit": config.limit,
        "seed": config.seed,
        "teacher": _asked(config.teacher)
        | {"min_looks": config.teacher.min_looks, "max_looks": config.teacher.max_looks},
        "recognizer": _asked(config.recognizer),
        "judge": _asked(config.judge),
        "prompts": prompts.DIGEST,
    }


def _files_below(path: pathlib.Path) -> list[pathlib.Path]:
    """A file, or all that a folder and its folders hold."""
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _asked(config: AskedConfig | TeacherConfig | None) -> dict[str, Any]:
    if config is None:
        return {}
    one = config.endpoint
    return {"model": one.model, "temperature": one.temperature, "max_tokens": one.max_tokens}
