"""Whether a reply says yes or no."""

import re

from r3jax.evaluate import replies

_WORD = re.compile(r"(?<![^\W_])(yes|no)(?![^\W_]|['\u2019.]\w)")


def said(reply: str) -> bool | None:
    """True for yes, False for no, None where a reply says neither, or both.

    A reply that opens with "Yes," is one, whatever is denied after it; "No" with a "yes" after it
    contradicts itself.

    >>> said("**Yes**"), said("There are no dogs."), said("Yes and no"), said("I know")
    (True, False, None, None)
    """
    text = replies.answer_of(reply).lower()
    if re.match(r"\W*yes\s*[,.;:!]", text):
        return True
    words = set(_WORD.findall(text))
    return words == {"yes"} if len(words) == 1 else None
