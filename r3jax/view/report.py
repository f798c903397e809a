"""The report of a run: results with their intervals, learning curves by stage, episodes."""

import dataclasses
from collections.abc import Mapping, Sequence

from r3jax.view import page, plot, trace
from r3jax.view.page import escape


@dataclasses.dataclass(frozen=True)
class Panel:
    """A plot of some metrics; `include` are values that its y axis always shows."""

    title: str
    metrics: tuple[str, ...]
    include: tuple[float, ...] = ()


# Panels that stand open, in this order; a panel shows those of its metrics that a stage has.
PANELS = (
    Panel("Loss", ("loss", "valid_loss")),
    Panel("Reward", ("reward",), (0.0,)),
    Panel("Accuracy", ("accuracy", "eval/accuracy"), (0.0, 1.0)),
    Panel(
        "Reward terms",
        ("reward/accuracy", "reward/format", "reward/region", "reward/length"),
        (0.0,),
    ),
    Panel("Looks per answer", ("looks_per_answer",), (0.0,)),
    Panel("Looking and thinking", ("tool_rate", "text_after_look", "closed_thoughts"), (0.0, 1.0)),
    Panel("Episodes cut short", ("truncated", "over_turn", "ended_without_answer"), (0.0,)),
    Panel("Tokens of an episode", ("tokens", "tokens_sampled", "tokens_image"), (0.0,)),
    Panel("Groups without variance", ("zero_variance_groups",), (0.0, 1.0)),
    Panel("Divergence from the reference (KL)", ("kl",), (0.0,)),
    Panel("Gradient norm", ("grad_norm",), (0.0,)),
)


@dataclasses.dataclass(frozen=True)
class Score:
    """A share between 0 and 1 with its confidence interval over `count` questions."""

    value: float
    low: float
    high: float
    count: int


@dataclasses.dataclass(frozen=True)
class ResultTable:
    """Scores of several models: `rows` maps a model's name to one score (or None) a column."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Sequence[Score | None]]
    note: str = ""

    def __post_init__(self):
        for name, scores in self.rows.items():
            if len(scores) != len(self.columns):
                raise ValueError(
                    f"row {name!r} of table {self.title!r} has {len(scores)} scores for "
                    f"{len(self.columns)} columns; use None where there is none"
                )


def report_html(
    title: str,
    summary: str,
    tables: Sequence[ResultTable],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    traces: Sequence[str],
    settings: Mapping[str, object],
) -> str:
    """The page of a run.

    `curves` maps a stage ("SFT", "R-GRPO") to the lines of its metrics file; `traces` are
    `trace.trace_fragment`s; `settings` is shown folded. `title` and `summary` are plain text.
    """
    body = [f'<h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p>']
    body += [_table(table) for table in tables]
    body += [_stage(name, lines) for name, lines in curves.items() if lines]
    if traces:
        body.append(f"<h2>Episodes</h2>{trace.LEGEND}{''.join(traces)}")
    if settings:
        items = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in settings.items()
        )
        body.append(
            f"<h2>Settings</h2><details><summary>All settings ({len(settings)})</summary>"
            f"<dl>{items}</dl></details>"
        )
    return page.render(title, "".join(body))


def _table(table: ResultTable) -> str:
    """Scores with a bar and the interval drawn on it."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(_cell(score) for score in scores)}</tr>"
        for name, scores in table.rows.items()
    )
    note = f'<p class="small">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table><thead><tr><th></th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _cell(score: Score | None) -> str:
    if score is None:
        return '<td class="small">not measured</td>'
    low, high = 100 * score.low, 100 * score.high
    interval = f'<span class="ci">{low:.1f} to {high:.1f}</span>' if high > low else ""
    return (
        f'<td title="{score.count} questions">{100 * score.value:.1f}{interval}'
        f'<div class="bar"><i style="width:{100 * score.value:.2f}%"></i>'
        f'<b style="left:{low:.2f}%;width:{high - low:.2f}%"></b></div></td>'
    )


def _stage(name: str, lines: Sequence[Mapping[str, float]]) -> str:
    """The learning curves of one stage: the known ones open, all others folded."""
    present = sorted({key for line in lines for key in line if key != "step"})
    figures = [_plot(panel, lines) for panel in PANELS if set(panel.metrics) & set(present)]
    known = {key for panel in PANELS for key in panel.metrics}
    others = [_plot(Panel(key, (key,)), lines) for key in present if key not in known]
    folded = (
        f"<details><summary>More metrics ({len(others)})</summary>"
        f'<div class="plots">{"".join(others)}</div></details>'
        if others
        else ""
    )
    return f'<h2>{escape(name)}</h2><div class="plots">{"".join(figures)}</div>{folded}'


def _plot(panel: Panel, lines: Sequence[Mapping[str, float]]) -> str:
    """A plot of some metrics over the steps that have them."""
    series = []
    for key in panel.metrics:
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            label = key.rpartition("/")[2].replace("_", " ")
            series.append(plot.Series(label, [x for x, _ in points], [y for _, y in points]))
    return plot.line_plot(panel.title, series, include=panel.include)
