"""One episode as a page: the image with its boxes, the text with each crop where it came in."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from r3jax.records import Box, Episode, Look, LookOutcome, Question, Source, Stop, Verdict
from r3jax.view import page, pictures, pieces
from r3jax.view.page import escape

Picture = Callable[[np.ndarray], str]
"""Makes an image, uint8 [height, width, 3], a data URL."""

_STOPS = {
    Stop.ANSWER: "answered",
    Stop.END: "ended without an answer",
    Stop.LENGTH: "truncated",
    Stop.TURNS: "asked for too many looks",
}
LEGEND = (
    '<p class="small legend"><span class="words"><span title="a sampled token" '
    'style="--doubt:60%">sampled</span>: an underline grows with the doubt, point at a token for '
    'its log-prob</span><span><span class="forced">forced</span>: put there by the system, never '
    "trained on</span></p>"
)


def trace_html(
    question: Question,
    episode: Episode,
    terms: Mapping[str, float] | None = None,
    verdict: Verdict | None = None,
    token_texts: Sequence[str] | None = None,
    resized_size: tuple[int, int] | None = None,
    title: str = "An episode",
) -> str:
    """A whole page with one episode; see `trace_fragment` for the arguments."""
    legend = LEGEND if token_texts is not None else ""
    fragment = trace_fragment(question, episode, terms, verdict, token_texts, resized_size)
    return page.render(title, f"<h1>{escape(title)}</h1>{legend}{fragment}")


def trace_fragment(
    question: Question,
    episode: Episode,
    terms: Mapping[str, float] | None = None,
    verdict: Verdict | None = None,
    token_texts: Sequence[str] | None = None,
    resized_size: tuple[int, int] | None = None,
) -> str:
    """One episode as an `<article>` for a page made by `page.render`.

    `terms` are its reward terms by name; `token_texts` the text of each token, which brings out
    the source of every token and its log-prob; `resized_size` (height, width) is the size at
    which the prompt showed the image, for the caption.
    """
    chips = [f'<span class="chip">{escape(_STOPS[episode.stop])}</span>']
    if episode.answer is not None:
        chips.insert(0, f'<span class="chip">answer: {escape(episode.answer)}</span>')
    if question.answer is not None:
        chips.insert(1, f'<span class="chip">known: {escape(question.answer)}</span>')
    if verdict is not None:
        chips.insert(0, f'<span class="chip {verdict.value}">{verdict.value}</span>')
    return (
        f'<article class="trace"><header><h3>{escape(question.text)}</h3>'
        f'<div class="chips">{"".join(chips)}</div></header><div class="columns"><div>'
        f"{stage(question, episode.looks)}{_caption(question, resized_size)}</div>"
        f'<div class="words">{transcript(episode, token_texts)}</div></div>'
        f"{_terms(terms)}</article>"
    )


def stage(question: Question, looks: Sequence[Look], picture: Picture = pictures.data_url) -> str:
    """The original image with a numbered box for every look that has one."""
    image = question.images[0]
    height, width = image.shape[:2]
    marks = []
    for index, look in enumerate(looks):
        if look.box_original is None:
            continue
        left, top, across, down = _percentages(look.box_original, height, width)
        colour = f"--c:{pictures.colour_of(index)}"
        marks.append(
            f'<i class="box" style="{colour};left:{left:.3f}%;top:{top:.3f}%;'
            f'width:{across:.3f}%;height:{down:.3f}%"></i>'
            f'<b class="tag" style="{colour};left:{left:.3f}%;top:{top:.3f}%">{index + 1}</b>'
        )
    return (
        f'<div class="stage"><img src="{picture(image)}" alt="the image asked about" '
        f'width="{width}" height="{height}">{"".join(marks)}</div>'
    )


def _percentages(box: Box, height: int, width: int) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box in percent of its image."""
    x1, y1, x2, y2 = box
    return 100 * x1 / width, 100 * y1 / height, 100 * (x2 - x1) / width, 100 * (y2 - y1) / height


def _caption(question: Question, resized_size: tuple[int, int] | None) -> str:
    height, width = question.images[0].shape[:2]
    seen = f", seen by the model at {resized_size[1]} x {resized_size[0]}" if resized_size else ""
    source = f"{escape(question.source)} · " if question.source else ""
    return f'<p class="small">{source}{escape(question.id)} · {width} x {height}{seen}</p>'


def transcript(
    episode: Episode,
    token_texts: Sequence[str] | None = None,
    picture: Picture = pictures.data_url,
) -> str:
    """The text of an episode with its looks in place."""
    parts = []
    for piece in pieces.cut(episode, token_texts):
        if isinstance(piece, pieces.LookHere):
            parts.append(_look(piece, episode.looks[piece.index], picture))
        elif piece.source is Source.FORCED and not piece.text.strip():
            continue  # the line ends around a crop, which stands on lines of its own here
        elif piece.source is Source.FORCED:
            parts.append(f'<span class="forced">{escape(piece.text)}</span>')
        elif piece.logp is None:
            parts.append(f"<span>{escape(piece.text)}</span>")
        else:
            probability = math.exp(min(piece.logp, 0.0))
            parts.append(
                f'<span title="p = {probability:.3f}, log-prob {piece.logp:.3f}" '
                f'style="--doubt:{100 * (1 - probability):.0f}%">{escape(piece.text)}</span>'
            )
    return "".join(parts)


def _look(piece: pieces.LookHere, look: Look, picture: Picture) -> str:
    """A look: its crop and where it is from, or why there is none."""
    number = f'<b class="tag">{piece.index + 1}</b>'
    if look.outcome is not LookOutcome.OK:
        return (
            f'<div class="look failed" style="--c:{pictures.FAILED_COLOUR}">{number}'
            f'<span class="small">no view: {look.outcome.value.replace("_", " ")}</span></div>'
        )
    height, width = look.crop.shape[:2]
    shown_width = max(width, min(2 * width, 260))  # tiny crops are enlarged to be read
    facts = [f"{width} x {height}"]
    if look.zoom is not None:
        facts.append(f"zoom {look.zoom:.2f}")
    if piece.num_tokens is not None:
        facts.append(f"{piece.num_tokens} image tokens")
    if look.box_original is not None:
        facts.append("from " + ", ".join(f"{side:.0f}" for side in look.box_original))
    return (
        f'<div class="look" style="--c:{pictures.colour_of(piece.index)}">'
        f'<img src="{picture(look.crop)}" alt="crop {piece.index + 1}" '
        f'width="{shown_width}"><span class="small">{number}<br>{"<br>".join(facts)}</span></div>'
    )


def _terms(terms: Mapping[str, float] | None) -> str:
    """The reward terms and their sum."""
    if not terms:
        return ""
    parts = [f"<span>{escape(name)}<b>{value:.3f}</b></span>" for name, value in terms.items()]
    total = f'<span class="total">reward<b>{sum(terms.values()):.3f}</b></span>'
    return f'<div class="terms num">{"".join(parts)}{total}</div>'
