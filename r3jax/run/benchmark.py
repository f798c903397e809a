"""A benchmark on disk: questions in, predictions.jsonl and results.json out, resumable.

output/
  settings.json      what the predictions depend on; another model or seed is refused
  predictions.jsonl  one line a question, written batch by batch
  results.json       the summary, written last
  data/              the world's held-out questions, where no file of questions was named
"""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from r3jax import added, paths
from r3jax.data import vlir
from r3jax.data.world import files
from r3jax.model.layers import Dtype
from r3jax.progress import Progress
from r3jax.rollout import engine
from r3jax.run import evaluate, origins, pretrained, shapes
from r3jax.run.evaluate import Prediction, Questions

COUNT = 640  # questions of the held-out test split
SEED = 0  # of the world
SETTINGS, PREDICTIONS, RESULTS = "settings.json", "predictions.jsonl", "results.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the answers depend on, as it stands in settings.json.

    `weights` and `questions` are fingerprints of the model directory and the file of questions,
    `dtype` is what weights and computation are in.
    """

    model: str
    weights: str
    questions: str
    temperature: float
    seed: int
    max_text_tokens: int
    dtype: Dtype


def run(
    model: str | Path,
    output: str | Path,
    data: str | Path | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    limit: int | None = None,
    batch: int = 32,
    max_text_tokens: int = 1024,
    dtype: Dtype = "float32",
) -> dict[str, Any]:
    """Evaluates a model directory on look-again questions; returns the content of results.json.

    `data` is an RL-format file with its images beside it; without it, the world's held-out test
    split is drawn into the output. `limit` asks only the first so many. Questions that
    predictions.jsonl holds are not asked again.

    Raises: ValueError where the output holds predictions made with other settings.
    """
    if batch < 1 or (limit is not None and limit < 1):
        raise ValueError(f"batch and limit must be at least 1, found {batch} and {limit}")
    output = paths.of(output)
    start = pretrained.load(model, on_host=True, dtype=dtype)
    data = paths.of(data) if data else draw_test_split(output / "data")
    rows, _ = vlir.read_rl(data, data.parent)
    evaluate.check_rows(rows)
    weights, asked = origins.fingerprint_model(model), origins.fingerprint_data(data)
    settings = Settings(str(model), weights, asked, temperature, seed, max_text_tokens, dtype)
    keep_settings(output, settings)
    rows = rows[:limit]
    done = read_predictions(output / PREDICTIONS, rows)[: len(rows)]
    questions = Questions(rows, start.form)
    if len(done) < len(rows):
        buckets = shapes.buckets_for(
            start.form,
            start.tokenizer,
            batch,
            text_tokens=max_text_tokens,
            arriving=evaluate.arriving(batch),
        )
        eng = evaluate.make_engine(start, buckets, temperature, batch)
        done += _ask_rest(eng, start.params, questions, seed, done, output / PREDICTIONS)
    found = evaluate.summarise(questions, done)
    paths.write_whole(output / RESULTS, json.dumps(found, indent=2) + "\n")
    return found


def _ask_rest(eng, params, questions, seed, done, path: Path) -> list[Prediction]:
    """Asks what is not in `done` yet and appends it to predictions.jsonl as it becomes known."""
    fresh, tally = [], engine.Tally()
    shown = {"accuracy": "accuracy"}
    with (
        contextlib.closing(added.add_to(path)) as file,
        Progress("evaluation", len(questions), shown, len(done)) as progress,
    ):
        for batch in evaluate.ask(eng, params, questions, seed, len(done), tally):
            file.write("".join(json.dumps(dataclasses.asdict(one)) + "\n" for one in batch))
            file.keep()
            fresh += batch
            accuracy = evaluate.share_right([*done, *fresh])
            progress.update(len(done) + len(fresh) - 1, {"accuracy": accuracy})
        progress.note(f"rows sampled in {tally.useful:.0%} of the steps that they were decoded for")
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


def keep_settings(output: Path, settings: Settings) -> None:
    """Writes settings.json, or checks that the one there says the same."""
    path, now = output / SETTINGS, dataclasses.asdict(settings)
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        changed = [n for n in now if n != "model" and before.get(n) != now[n]]
        if changed:
            said = "; ".join(f"{n} was {before.get(n)!r}, is {now[n]!r}" for n in changed)
            raise ValueError(
                f"{output} holds predictions made with other settings: {said}. Name a new output"
            )
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now, indent=2) + "\n", "utf-8")


def read_predictions(path: Path, rows: list[vlir.RlRow]) -> list[Prediction]:
    """Returns the predictions made so far, in order; a line torn by a kill is cut off the file.

    Raises: ValueError where a line is not of the question that stands in its place.
    """
    if not path.is_file():
        return []
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        paths.write_whole(path, whole[:end].decode())
    done = []
    for number, line in enumerate(whole[:end].splitlines()):
        try:
            values = json.loads(line)
            one = Prediction(**{**values, "looks": tuple(values["looks"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}, line {number + 1} is no prediction ({error}): remove the file"
            ) from error
        if number < len(rows) and one.id != rows[number].id:
            raise ValueError(
                f"{path}, line {number + 1} answers {one.id}, expected {rows[number].id}: the "
                "questions are others; remove the file or name a new output"
            )
        done.append(one)
    return done
