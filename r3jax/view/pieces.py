"""An episode as a reader meets it: stretches of text by source, and its looks where they stand."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from r3jax.records import Episode, LookOutcome, Source
from r3jax.reward import text as texts


@dataclasses.dataclass(frozen=True)
class Words:
    """Text from one source; `logp` is that of its token, None where it is not one sampled token."""

    text: str
    source: Source
    logp: float | None = None


@dataclasses.dataclass(frozen=True)
class LookHere:
    """The look with this index, at its place; `num_tokens` of its image, None if not known."""

    index: int
    num_tokens: int | None = None


Piece = Words | LookHere


def cut(episode: Episode, token_texts: Sequence[str] | None = None) -> list[Piece]:
    """Cut an episode into pieces, by its tokens where their texts are given, else by its text.

    `token_texts` holds the text of each token, in order; adjacent characters split over tokens
    are shown as the tokens have them.

    Errors: ValueError if there are more or fewer texts than tokens.
    """
    if token_texts is None:
        return _cut_text(episode)
    if len(token_texts) != len(episode.tokens):
        raise ValueError(
            f"{len(token_texts)} token texts for an episode of {len(episode.tokens)} tokens; "
            "give one for each token, image tokens too"
        )
    return _cut_tokens(episode, token_texts)


def _cut_text(episode: Episode) -> list[Piece]:
    """Text and boxes in turn; each look stands behind its box."""
    pieces: list[Piece] = []
    end = 0
    for index, match in enumerate(texts.BOX.finditer(episode.text)):
        pieces.append(Words(episode.text[end : match.end()], Source.SAMPLED))
        if index < len(episode.looks):
            pieces.append(LookHere(index))
        end = match.end()
    if episode.text[end:]:
        pieces.append(Words(episode.text[end:], Source.SAMPLED))
    shown = sum(isinstance(piece, LookHere) for piece in pieces)
    return pieces + [LookHere(index) for index in range(shown, len(episode.looks))]


def _cut_tokens(episode: Episode, token_texts: Sequence[str]) -> list[Piece]:
    """One piece a token; a run of image tokens is the next look that was executed."""
    executed = iter([i for i, o in enumerate(episode.looks) if o.outcome is LookOutcome.OK])
    starts = np.flatnonzero(np.diff(episode.source, prepend=-1))
    ends = [*starts[1:], len(episode.source)]
    pieces: list[Piece] = []
    for start, end in zip(starts, ends):
        source = Source(int(episode.source[start]))
        if source is Source.IMAGE:
            index = next(executed, None)
            if index is None:
                raise ValueError("the episode has more runs of image tokens than executed looks")
            pieces.append(LookHere(index, int(end - start)))
            continue
        for i in range(start, end):
            logp = float(episode.logp[i]) if source is Source.SAMPLED else None
            pieces.append(Words(token_texts[i], source, logp))
    return pieces
