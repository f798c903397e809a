"""What stages removed, on one page: numbers, and samples that stopped at each reason."""

import dataclasses
from collections.abc import Mapping, Sequence

from r3jax.view import contact_sheet, page
from r3jax.view.contact_sheet import Card
from r3jax.view.page import escape


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: what leaves it, how many came in and left, and examples of each reason why not."""

    name: str
    what: str
    cells: tuple[str, ...]
    reasons: Mapping[str, int]
    examples: Mapping[str, Sequence[Card]]
    told: Mapping[str, Sequence[str]]


def sieve_html(
    title: str,
    summary: str,
    columns: Sequence[str],
    stages: Sequence[Stage],
    kept: Sequence[Card],
    settings: Mapping[str, object],
) -> str:
    """The page. `kept` are some of those that passed all stages; texts are plain."""
    body = [f'<h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p>']
    rows = {stage.name: stage.cells for stage in stages}
    body.append(f"<h2>Stages</h2>{contact_sheet.table(columns, rows)}")
    body += [_stage(stage) for stage in stages if stage.reasons]
    if kept:
        cards = "".join(map(contact_sheet.card_html, kept))
        body.append(f"<h2>{len(kept)} that passed</h2>{cards}")
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in settings.items()
    )
    body.append(f"<h2>Settings</h2><dl>{items}</dl>")
    return page.render(title, "".join(body))


def _stage(stage: Stage) -> str:
    parts = [f'<h2>{escape(stage.name)}</h2><p class="lead">What leaves: {escape(stage.what)}.</p>']
    for reason, count in stage.reasons.items():
        cards = "".join(map(contact_sheet.card_html, stage.examples.get(reason, ())))
        told = contact_sheet.paragraphs(stage.told.get(reason, ()))
        parts.append(
            f"<details><summary>{escape(reason)}: {count:,}</summary>{told}{cards}</details>"
        )
    return "".join(parts)
