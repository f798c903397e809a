"""Options where a question lists them in its text, and without the letters before them."""

import re
import string
from collections.abc import Sequence

_LISTED = re.compile(r"(?:^|(?<=\s))(\(?)([A-Ja-j])([).:\u3001]|\uff0e)\s*(?=\S)")
_HEADING = re.compile(r"\b(?:Options|Choices):", re.IGNORECASE)


def options_in(question: str) -> list[str]:
    """The options that a question lists as "(A) red (B) blue", in order; none where it does not.

    >>> options_in("Open or closed?\\n(a) Open (b) Closed")
    ['Open', 'Closed']
    """
    return split(question)[1]


def split(question: str) -> tuple[str, list[str]]:
    """A question that lists options as what stands before them, and they; as it is, and none, where
    it lists none.

    >>> split("Open or closed? Options: A: Open, B: Closed")
    ('Open or closed?', ['Open', 'Closed'])
    """
    headings = list(_HEADING.finditer(question))
    begin = headings[-1].end() if headings else 0
    marks = list(_LISTED.finditer(question, begin))
    firsts = [number for number, mark in enumerate(marks) if mark[2].upper() == "A"]
    # After a heading the first list counts, otherwise the last: a question may name its options.
    for first in firsts if headings else reversed(firsts):
        listed = [marks[first]]
        for mark in marks[first + 1 :]:
            is_next = mark[2].upper() == string.ascii_uppercase[len(listed)]
            if is_next and (mark[1], mark[3]) == (listed[0][1], listed[0][3]):
                listed.append(mark)
        if len(listed) > 1:
            ends = [mark.start() for mark in listed[1:]] + [len(question)]
            found = [question[mark.end() : end] for mark, end in zip(listed, ends)]
            stem = question[: headings[-1].start() if headings else listed[0].start()]
            return stem.strip(), [one.strip().split("\n")[0].strip(" ,;") for one in found]
    return question, []


def bare(options: Sequence[str]) -> list[str]:
    """Options without the letters that may stand before them, where each has its own: "(A) red" is
    "red"."""
    texts = [str(one) for one in options]
    marks = [
        re.match(rf"\s*\(?{string.ascii_uppercase[number % 26]}[).:]\s*", one, re.IGNORECASE)
        for number, one in enumerate(texts)
    ]
    if not all(marks):
        return texts
    return [one[mark.end() :] for mark, one in zip(marks, texts)]
