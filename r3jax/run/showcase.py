"""The report of the demonstration: results with intervals, learning curves, episodes to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from r3jax.data import vlir
from r3jax.data.tokenizer import Tokenizer
from r3jax.records import ScoredGroup, Verdict
from r3jax.reward import scoring
from r3jax.rollout import engine, weights
from r3jax.run import evaluate, pages, pretrained
from r3jax.view import report

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
    one = results["rgrpo"]["greedy"]["one_look"]
    return pages.write(
        workdir,
        title="A small model learns to look again",
        summary=f"After R-GRPO the model answers {one:.0%} of the held-out one-look questions.",
        stages={title: workdir / stage for title, stage in CURVES.items()},
        scored=_episodes(config, workdir),
        tokenizer=Tokenizer.from_dir(workdir / "rgrpo" / "export"),
        tables=[_table(results, mode) for mode in ("greedy", "temperature_1")],
    )


def _table(results: Mapping, mode: str) -> report.ResultTable:
    rows = {
        f"{name}: {about}": [_score(results[name][mode], column) for column in COLUMNS]
        for name, about in ABOUT.items()
    }
    return report.ResultTable(
        f"Held-out accuracy, {mode.replace('_', ' ')}",
        tuple(column.replace("_", " ") for column in COLUMNS),
        rows,
        "Percent right; the line on a bar is its 95 % Wilson interval. Chance is computed.",
    )


def _score(found: Mapping, column: str) -> report.Score | None:
    if column not in found:
        return None
    low, high = found.get("intervals", {}).get(column, (found[column], found[column]))
    return report.Score(found[column], low, high, found["counts"][column])


def _episodes(config: "LookAgainConfig", workdir: Path) -> list[ScoredGroup]:
    """Greedy episodes of the final model on held-out questions, right ones first."""
    start = pretrained.load(workdir / "rgrpo" / "export", on_host=True)
    test = workdir / "data" / "test.json"
    rows, _ = vlir.read_rl(test, test.parent)
    # Every few rows: neighbours share an image.
    spread = rows[:: max(1, len(rows) // config.traces)][: config.traces]
    questions = list(evaluate.Questions(spread, start.form))
    eng = evaluate.make_engine(start, config.eval_buckets, 0.0, config.eval_batch)
    policy = weights.sent(start.params, eng.model.dtype)
    groups = engine.collect(eng, policy, questions, config.seed, step=0)
    scored = scoring.score(groups, config.rgrpo.reward)
    return sorted(scored, key=lambda one: one.verdicts[0] is not Verdict.RIGHT)
