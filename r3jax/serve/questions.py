"""From a conversation to the question that the model is asked."""

from collections.abc import Sequence

import numpy as np

from r3jax.data import chat
from r3jax.records import Question, Turn


def question(
    name: str, turns: Sequence[Turn], images: tuple[np.ndarray, ...], form: chat.ChatFormat
) -> Question:
    """The question of a request.

    One message of images and words, in either order, is the question that `launch/infer.py` asks:
    images first, then the words and the instruction of the chat format. In any other conversation
    everything stands where it was said, and the instruction follows the last words of the user.
    """
    text = _only_words(turns)
    if text is not None:
        return Question(name, text, images)
    last = turns[-1]
    *before, words = last.parts if isinstance(last.parts[-1], str) else (*last.parts, "")
    asked = Turn(last.role, (*before, chat.user_text(words, form)))
    return Question(name, words, images, turns=(*turns[:-1], asked))


def _only_words(turns: Sequence[Turn]) -> str | None:
    """The words, where all that was said is one message, of images and words apart."""
    if len(turns) != 1:
        return None
    parts = turns[0].parts
    texts = [part for part in parts if isinstance(part, str)]
    at_an_end = [part for part in (parts[0], parts[-1]) if isinstance(part, str)]
    return texts[0] if len(texts) == 1 and at_an_end else None
