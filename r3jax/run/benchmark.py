"""A benchmark on disk: questions in, predictions.jsonl and results.json out, resumable.

output/
  settings.json      what the predictions depend on; another model or seed is refused
  predictions.jsonl  one line a question, written as they become known, scored by rules
  judged.jsonl       the lines of it that a judge was asked about, with what it decided
  results.json       the summary, written last
  data/              the world's held-out questions, where no file of questions was named
  replies-1.sqlite   what an endpoint has said, where one was asked
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from r3jax import added, lines, paths
from r3jax.data import chat
from r3jax.data.world import files
from r3jax.progress import Progress
from r3jax.run.suites import Line, Reply, Suite

COUNT = 640  # questions of the held-out test split
SEED = 0  # of the world
SETTINGS, PREDICTIONS, RESULTS = "settings.json", "predictions.jsonl", "results.json"
JUDGED = "judged.jsonl"
_NAMES = ("model", "url", "predictions")  # of the same thing in another place


class Asker(Protocol):
    """Who answers. `settings` say what replies depend on, `form` how questions are put and at what
    size images are shown, where that is known here."""

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def form(self) -> chat.ChatFormat | None: ...

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields replies in order, as they become known, to questions from number `first` on."""


def run(suite: Suite, asker: Asker, output: str | Path) -> dict[str, Any]:
    """Asks what predictions.jsonl does not hold yet; returns the content of results.json.

    Raises: ValueError where the output holds predictions made with other settings.
    """
    output = paths.of(output)
    settings = {**suite.settings, **asker.settings}
    keep_settings(output, settings)
    done = read_predictions(output / PREDICTIONS, suite.ids)[: len(suite.ids)]
    if len(done) < len(suite.ids):
        done += _ask_rest(suite, asker, done, output / PREDICTIONS)
    decided = suite.judged(done)
    if asked := [line for line, before in zip(decided, done, strict=True) if line is not before]:
        paths.write_whole(output / JUDGED, "".join(map(lines.line, asked)))
    found = suite.summarise(decided) | _pixels(asker.form) | {"settings": settings}
    paths.write_whole(output / RESULTS, json.dumps(found, indent=2) + "\n")
    return found


def _pixels(form: chat.ChatFormat | None) -> dict[str, Any]:
    """At what sizes images and crops were shown, where that is known: numbers depend on it."""
    if form is None:
        return {}
    shown = {"image": form.image_bounds}
    if form.look_rules.max_looks:
        shown["crop"] = form.look_rules.crop
    return {"pixels": {name: [b.min_pixels, b.max_pixels] for name, b in shown.items()}}


def _ask_rest(suite: Suite, asker: Asker, done: Sequence[Line], path: Path) -> list[Line]:
    """Asks what is not in `done` yet and appends it to predictions.jsonl as it becomes known."""
    fresh: list[Line] = []
    total = sum(line["score"] for line in done)
    with (
        contextlib.closing(added.add_to(path)) as file,
        Progress("evaluation", len(suite.ids), {"score": "score"}, len(done)) as progress,
    ):
        for replies in asker.replies(suite, len(done)):
            begin = len(done) + len(fresh)
            scored = [suite.line(number, reply) for number, reply in enumerate(replies, begin)]
            file.write("".join(map(lines.line, scored)))
            file.keep()
            fresh += scored
            total += sum(line["score"] for line in scored)
            asked = len(done) + len(fresh)
            progress.update(asked - 1, {"score": total / max(1, asked)})
    return fresh


def draw_test_split(directory: Path) -> Path:
    """Writes the world's held-out questions unless they are there; returns their file."""
    counts = {"test": COUNT}
    meta = directory / "meta.json"
    if not meta.is_file():
        files.write_world(directory, SEED, counts)
    found = json.loads(meta.read_text("utf-8"))
    if (found["seed"], found["counts"]) != (SEED, counts):
        raise ValueError(
            f"{directory} holds another world (seed {found['seed']}, {found['counts']}): name a "
            "new output, or these questions with --data"
        )
    return directory / "test.json"


def keep_settings(output: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings.json, or checks that the one there says the same."""
    path, now = output / SETTINGS, json.loads(json.dumps(settings))
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        names = [n for n in {**before, **now} if n not in _NAMES]
        changed = [n for n in names if before.get(n) != now.get(n)]
        if changed:
            said = "; ".join(f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in changed)
            raise ValueError(
                f"{output} holds predictions made with other settings: {said}. Name a new output"
            )
    output.mkdir(parents=True, exist_ok=True)
    paths.write_whole(path, json.dumps(now, indent=2) + "\n")


def read_predictions(path: Path, ids: Sequence[str]) -> list[Line]:
    """Returns the predictions made so far, in order; a line torn by a kill is cut off the file.

    Raises: ValueError where a line is not of the question that stands in its place.
    """
    done = lines.restore(path)
    for number, line in enumerate(done, 1):
        if (missing := {"id", "score"} - set(line)) or not isinstance(line["score"], int | float):
            raise ValueError(
                f"{path}, line {number} is no prediction ({', '.join(missing) or 'score'!r}): "
                "remove the file"
            )
        if number <= len(ids) and line["id"] != ids[number - 1]:
            raise ValueError(
                f"{path}, line {number} answers {line['id']}, expected {ids[number - 1]}: the "
                "questions are others; remove the file or name a new output"
            )
    return done
