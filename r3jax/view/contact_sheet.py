"""Rows of a data file on one page: pictures with boxes, texts with crops, and what is bad."""

import dataclasses
from collections.abc import Mapping, Sequence

from r3jax.records import Episode, Question
from r3jax.view import page, pictures, trace
from r3jax.view.page import escape

LONGEST = 4000  # characters of a text that are shown


@dataclasses.dataclass(frozen=True)
class Card:
    """A row: what is asked about which image, a trace as an episode if it is one, and short facts;
    `note` stands below the text."""

    question: Question
    episode: Episode | None
    facts: tuple[str, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A kind of bad rows: how many there are, messages about some, and the content of one."""

    name: str
    count: int
    told: tuple[str, ...]
    content: str


def sheet_html(
    title: str,
    summary: str,
    numbers: Mapping[str, Sequence[object]],
    columns: Sequence[str],
    crop_files: Sequence[str],
    cards: Sequence[Card],
    faults: Sequence[Fault],
) -> str:
    """The page. `numbers` are rows of a table under `columns`, `crop_files` is what comparing them
    has shown; texts are plain."""
    body = [f'<h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p>']
    if numbers:
        body.append(f"<h2>Sizes</h2>{table(columns, numbers)}")
    if crop_files:
        body.append(f"<h2>Crop files</h2>{paragraphs(crop_files)}")
    if faults:
        body.append(f"<h2>Bad rows</h2>{''.join(map(_fault, faults))}")
    if cards:
        body.append(f"<h2>{len(cards)} rows, drawn at random</h2>{''.join(map(card_html, cards))}")
    return page.render(title, "".join(body))


def table(columns: Sequence[str], rows: Mapping[str, Sequence[object]]) -> str:
    """A table whose rows have names."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows.items()
    )
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def card_html(card: Card) -> str:
    """A row as an `<article>`, its pictures as thumbnails."""
    question, episode = card.question, card.episode
    facts = "".join(f'<span class="chip">{escape(fact)}</span>' for fact in card.facts)
    looks = episode.looks if episode is not None else ()
    words = trace.transcript(episode, picture=pictures.thumbnail) if episode is not None else ""
    note = f'<p class="small">{escape(card.note[:LONGEST])}</p>' if card.note else ""
    height, width = question.images[0].shape[:2]
    return (
        f'<article class="trace"><header><h3>{escape(question.text[:LONGEST])}</h3>'
        f'<div class="chips">{facts}</div></header><div class="columns"><div>'
        f"{trace.stage(question, looks, pictures.thumbnail)}"
        f'<p class="small">{escape(question.id)} · {width} x {height}</p></div>'
        f'<div><div class="words">{words}</div>{note}</div></div></article>'
    )


def _fault(fault: Fault) -> str:
    return (
        f"<details open><summary>{escape(fault.name)}: {fault.count}</summary>"
        f"{paragraphs(fault.told)}"
        f'<p class="words small">{escape(fault.content[:LONGEST])}</p></details>'
    )


def paragraphs(told: Sequence[str]) -> str:
    """Messages below each other."""
    return "".join(f"<p>{escape(message[:LONGEST])}</p>" for message in told)
