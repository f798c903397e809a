"""Open questions of MMMU: whether a reply says one of the right answers.

Source: the rules that MMMU publishes. Key phrases and numbers are taken out of the reply; a word
is right that contains the answer, a number that equals it to two digits after the point.
"""

import re
from collections.abc import Iterable, Sequence

_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})++\b",
    r"-?(?<!\d)\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:(?<!\d)\d+(?:\.\d+|\b)|\.\d+)(?![eE][+-]?\d+)(?![,\d])",
)


def is_right(reply: str, answers: Sequence[str]) -> bool:
    """Whether a reply says one of these answers.

    >>> is_right("x = 4 cm", ["4"]), is_right("four", ["4"])
    (True, False)
    """
    wanted = {value for answer in answers for value in _comparable(answer)}
    words = [value for value in wanted if isinstance(value, str)]
    return any(
        any(word in said for word in words) if isinstance(said, str) else said in wanted
        for said in candidates(reply)
    )


def candidates(reply: str) -> set[str | float]:
    """What a reply may be saying: phrases in lower case, and numbers."""
    phrases = list(_key_phrases(reply))
    numbers = [n for phrase in phrases for pattern in _NUMBERS for n in re.findall(pattern, phrase)]
    return {value for text in (*phrases, *numbers) for value in _comparable(text)}


def _key_phrases(reply: str) -> Iterable[str]:
    """The shortest text after a key word of each line; the whole reply where there is none. A key
    word that ends its line leaves nothing, and what the earlier ones found is lost with it."""
    text = reply.strip().strip(".").lower()
    lines, found = text.split("\n"), []
    for number, line in enumerate(lines):
        keys = (*_KEYS, "=") if number == len(lines) - 1 else _KEYS  # the last may be an equation
        shortest = ""
        for key in keys:
            if key in line:
                after = line.rpartition(key)[2].strip()
                shortest = min(shortest or after, after, key=len)
        if shortest and shortest not in {":", ",", ".", "!", "?", ";", "'"}:
            found.append(shortest)
    return found or [text]


def _comparable(text: str) -> list[str | float]:
    """A number to two digits, or words; a single letter only beside a space, as it is in many
    words."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]
