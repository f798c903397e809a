"""The page that a run leaves in its workdir: learning curves, and episodes to look at."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from r3jax import hosts, metrics
from r3jax.data.tokenizer import Tokenizer
from r3jax.records import ScoredGroup
from r3jax.run import infer
from r3jax.view import figure, report, trace

REPORT, PICTURE, CONFIG = "report/index.html", "trace.png", "config.json"
MOST_TRACES = 12


def write(
    workdir: Path,
    title: str,
    summary: str,
    stages: Mapping[str, Path],
    scored: Sequence[ScoredGroup] = (),
    tokenizer: Tokenizer | None = None,
    tables: Sequence[report.ResultTable] = (),
) -> Path:
    """Writes report/index.html, and the first episode as report/trace.png; returns the page.

    `stages` maps a name ("SFT") to the directory with its metrics; of each group of `scored` the
    first episode is shown, its tokens told apart by `tokenizer`. Of several hosts the first writes,
    and shows episodes of its own.
    """
    path, config = workdir / REPORT, workdir / CONFIG
    if not hosts.leads():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    page = report.report_html(
        title=title,
        summary=summary,
        tables=tables,
        curves={name: metrics.read(at / metrics.METRICS) for name, at in stages.items()},
        traces=[_trace(one, tokenizer) for one in scored[:MOST_TRACES]],
        settings=json.loads(config.read_text("utf-8")) if config.is_file() else {},
    )
    if scored:
        first = scored[0].group
        with path.with_name(PICTURE).open("wb") as file:
            figure.trace_png(first.question, first.episodes[0]).save(file, "PNG")
    path.write_text(page, "utf-8")
    return path


def _trace(one: ScoredGroup, tokenizer: Tokenizer) -> str:
    episode = one.group.episodes[0]
    height, width = one.group.prompt.images[0].shape[:2]
    return trace.trace_fragment(
        one.group.question,
        episode,
        terms={name: float(values[0]) for name, values in one.terms.items()},
        verdict=one.verdicts[0],
        token_texts=infer.token_texts(tokenizer, episode.tokens, episode.source),
        resized_size=(height, width),
    )
