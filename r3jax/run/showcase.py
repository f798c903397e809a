"""The report of the demonstration: results with intervals, learning curves, episodes to look at."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from r3jax import metrics
from r3jax.data import vlir
from r3jax.evaluate import look_again
from r3jax.records import Group
from r3jax.rollout import engine
from r3jax.run import evaluate, pretrained
from r3jax.view import figure, report, trace

if TYPE_CHECKING:
    from r3jax.run.look_again import LookAgainConfig

COLUMNS = ("one_look", "two_look", "all")
CURVES = {"SFT": "sft", "R-GRPO": "rgrpo", "SFT without looking": "no_crop"}
ABOUT = {
    "chance": "reads a random place of the image",
    "base": "before training",
    "sft": "after the cold start",
    "rgrpo": "after R-GRPO",
    "no_crop": "trained to answer without looking",
    "blank_crop": "the R-GRPO model, its crops blanked",
    "shuffled": "the R-GRPO model, questions shuffled among images",
}


def write(config: "LookAgainConfig", workdir: Path, results: Mapping) -> Path:
    """Writes report/index.html and report/trace.png beside results.json."""
    directory = workdir / "report"
    directory.mkdir(parents=True, exist_ok=True)
    groups = _episodes(config, workdir)
    figure.trace_png(groups[0].question, groups[0].episodes[0]).save(directory / "trace.png")
    curves = {
        title: metrics.read(workdir / stage / metrics.METRICS) for title, stage in CURVES.items()
    }
    one = results["rgrpo"]["greedy"]["one_look"]
    page = report.report_html(
        title="A small model learns to look again",
        summary=f"After R-GRPO the model answers {one:.0%} of the held-out one-look questions.",
        tables=[_table(results, mode) for mode in ("greedy", "temperature_1")],
        curves=curves,
        traces=[_trace(group) for group in groups],
        settings=json.loads((workdir / "config.json").read_text("utf-8")),
    )
    path = directory / "index.html"
    path.write_text(page, "utf-8")
    return path


def _table(results: Mapping, mode: str) -> report.ResultTable:
    rows = {
        f"{name}: {about}": [_score(results[name][mode], column) for column in COLUMNS]
        for name, about in ABOUT.items()
    }
    return report.ResultTable(
        f"Held-out accuracy, {mode.replace('_', ' ')}",
        tuple(column.replace("_", " ") for column in COLUMNS),
        rows,
        "Bars are 95 % Wilson intervals.",
    )


def _score(found: Mapping, column: str) -> report.Score | None:
    if column not in found:
        return None
    low, high = found.get("intervals", {}).get(column, (found[column], found[column]))
    return report.Score(found[column], low, high, found["count"])


def _episodes(config: "LookAgainConfig", workdir: Path) -> list[Group]:
    """Greedy episodes of the final model on the first held-out questions, right ones first."""
    start = pretrained.load(workdir / "rgrpo" / "export")
    test = workdir / "data" / "test.json"
    rows, _ = vlir.read_rl(test, test.parent)
    # Every few rows: neighbours share an image.
    spread = rows[:: max(1, len(rows) // config.traces)][: config.traces]
    questions = list(evaluate.Questions(spread, start.form))
    eng = evaluate.make_engine(start, config.eval_buckets, 0.0, config.eval_batch)
    groups = engine.collect(eng, start.params, questions, config.seed, step=0)
    return sorted(groups, key=lambda g: not look_again.is_right(g.question, g.episodes[0]))


def _trace(group: Group) -> str:
    right = look_again.is_right(group.question, group.episodes[0])
    height, width = group.prompt.images[0].shape[:2]
    return trace.trace_fragment(
        group.question,
        group.episodes[0],
        terms={"right": float(right)},
        resized_size=(height, width),
    )
