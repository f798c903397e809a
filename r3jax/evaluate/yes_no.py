"""Whether a reply says yes or no."""

import re

from r3jax.evaluate import replies

_WORD = re.compile(r"(?<![^\W_])(yes|no)(?![^\W_]|['\u2019]\w|\.\d)")  # "no.5" is a number
_OPENS = re.compile(  # "no" before a noun takes nothing back
    r"\W*yes\b(?!\W*(?:and|or|/|maybe|no\b(?!\s+(?!maybe\b|wait\b|yes\b|and\b|or\b)\w)))"
)
_STATES = re.compile(r"\banswer(?:\W*is)?\W*yes\b(?!\W*(?:and|or|/)\W*no\b)")


_YES, _NO = {"yes", "1", "1.0", "true"}, {"no", "0", "0.0", "false"}


def is_yes(answer: object) -> bool:
    """Whether a right answer is yes, however a file writes it. Raises: ValueError for another one.

    >>> is_yes("Yes"), is_yes(0)
    (True, False)
    """
    text = str(answer).strip().strip(".").lower()
    if text not in _YES | _NO:
        raise ValueError(f"answer {answer!r}: expected yes or no, 1 or 0")
    return text in _YES


def said(reply: str) -> bool | None:
    """True for yes, False for no, None where a reply says neither, or both.

    A reply that opens with "Yes", or says that it is the answer, is one, whatever is denied beside
    it; "No" with a "yes" after it contradicts itself.

    >>> said("**Yes**"), said("There are no dogs."), said("Yes and no"), said("I know")
    (True, False, None, None)
    """
    text = replies.answer_of(reply).lower()
    if _OPENS.match(text) or _STATES.search(text):
        return True
    words = set(_WORD.findall(text))
    return words == {"yes"} if len(words) == 1 else None
