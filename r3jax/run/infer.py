"""One question to one model: the answer with its looks, for people, for programs, as a page."""

import codecs
import json
import textwrap
from pathlib import Path

import numpy as np

from r3jax import paths
from r3jax.data import frames
from r3jax.data.tokenizer import Tokenizer
from r3jax.records import Box, Episode, Look, LookOutcome, Question, Source, Stop
from r3jax.run import vlm
from r3jax.view import as_json, pieces, trace

STOPPED = {
    Stop.ANSWER: "none",
    Stop.END: "none: the model ended its turn without one",
    Stop.LENGTH: "none: the episode reached its longest length",
    Stop.TURNS: "none: the model asked for more looks than it may take",
}


def to_json(episode: Episode) -> str:
    """What `--json` prints."""
    return json.dumps(as_json.episode(episode))


def describe(episode: Episode) -> str:
    """The episode for a terminal: its text with each look where it was taken, then the answer."""
    parts = []
    for piece in pieces.cut(episode):
        if isinstance(piece, pieces.LookHere):
            parts.append(describe_look(piece.index + 1, episode.looks[piece.index]))
        elif piece.text.strip():
            parts.append(textwrap.fill(piece.text.strip(), 100, break_long_words=False))
    answer = STOPPED[episode.stop] if episode.answer is None else episode.answer
    count = f"{_plural(len(episode.looks), 'look')}, {_plural(len(episode.tokens), 'token')}"
    return "\n".join([*parts, "", f"answer: {answer}  ({count})"])


def describe_look(number: int, look: Look) -> str:
    """One line: what was asked for, and what came of it."""
    if look.outcome is not LookOutcome.OK:
        asked = f"box {_shown(look.box_resized)}, " if look.box_resized else ""
        return f"  [look {number}: {asked}no view: {look.outcome.value.replace('_', ' ')}]"
    height, width = look.crop.shape[:2]
    return (
        f"  [look {number}: box {_shown(look.box_resized)}, in the original "
        f"{_shown(look.box_original)}, zoom {look.zoom:.2f}, seen at {width} x {height}]"
    )


def write_page(model: vlm.VLM, question: Question, episode: Episode, path: str | Path) -> None:
    """Writes the episode as an HTML page with the image, every crop and the source of tokens."""
    height, width = question.images[0].shape[:2]
    frame = frames.Frame.fit(height, width, model.form.image_bounds)
    page = trace.trace_html(
        question,
        episode,
        token_texts=token_texts(model.tokenizer, episode.tokens, episode.source),
        resized_size=(frame.resized_height, frame.resized_width),
        title=question.text,
    )
    paths.of(path).write_text(page, "utf-8")


def token_texts(tokenizer: Tokenizer, tokens: np.ndarray, source: np.ndarray) -> list[str]:
    """The text that each token adds; a character cut over tokens stands at its last one."""
    table = tokenizer.token_bytes()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for token, origin in zip(tokens, source):
        is_text = origin != Source.IMAGE and token < len(table)
        texts.append(decoder.decode(table[token]) if is_text else "")
    if texts:
        texts[-1] += decoder.decode(b"", final=True)
    return texts


def _shown(box: Box) -> str:
    return ", ".join(f"{side:.0f}" for side in box)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
