"""Which of a question's options a reply chooses: by its letter or by its words.

A reply chooses an option where a careful reader has no doubt. "A man", "Because", "Cannot tell"
are words, no letters; an option that is ruled out is none; two options are none.

Source: our own departure. Published scorers take the first letter of a word for an option, or a
letter inside one, or fail on "(B)"; docs/evaluation.md counts where verdicts differ.
"""

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence

from r3jax.evaluate import replies
from r3jax.reward import normalise

_LATIN = "A-Za-z0-9_\u00c0-\u024f"
# A letter by itself: in no word, number or formula. What follows tells an article from an option.
_LETTER = re.compile(
    rf"(?<![{_LATIN}\\^+#'\u2019])(?P<open>[(\[]?)(?P<letter>[A-Za-z])(?P<mark>[)\].:,]?)"
    rf"(?![{_LATIN}+#^'\u2019])(?!-\w)"
)
_VERB = r"(?:is|was|or|and|because|since|as|seems|appears|rather|but|would|should|could|can)\b"
_STATED = re.compile(  # what follows is said to be the answer; the last time counts
    r"(?:\banswer|\bchoice|\boption"
    r"|\bi(?:'d| would| will|'ll)?\s+(?:choose|pick|select|go with|say)|答案|答え|정답|选)"
    r"(?:\s*(?:is|are|should be|would be|must be|是|为|は|은))?[\s:=*\"'{]*",
    re.IGNORECASE,
)
_AGAINST = re.compile(
    r"(?:\bnot|n't|\brather than|\binstead of|\bnor|\bneither|\bexcept)\s+(?:the\s+|an?\s+)?$", re.I
)
_FALSE = re.compile(
    r"[)\].:]?\s*[^.;,:\n]{0,20}?\b(?:is|are|was|were|seems?|looks?)\s+"
    r"(?:wrong|incorrect|unlikely|impossible|false|not\b)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"(?:^|(?<=\s))\(?([A-Ha-h])[).:]\s+")


def options_in(question: str) -> list[str]:
    """The options that a question lists as "(A) red (B) blue", in order; none where it does not.

    >>> options_in("Open or closed?\\n(a) Open (b) Closed")
    ['Open', 'Closed']
    """
    marks = list(_LISTED.finditer(question))
    for first in range(len(marks)):
        letters = "".join(mark[1] for mark in marks[first:]).upper()
        if len(letters) > 1 and letters == string.ascii_uppercase[: len(letters)]:
            ends = [mark.start() for mark in marks[first + 1 :]] + [len(question)]
            return [question[mark.end() : end].strip() for mark, end in zip(marks[first:], ends)]
    return []


def chosen(reply: str, choices: Sequence[str]) -> int | None:
    """The number of the option that a reply chooses, or None.

    >>> chosen("The answer is cotton.", ["rubber", "cotton"]), chosen("A man", ["rubber", "cotton"])
    (1, None)
    """
    answer = unicodedata.normalize("NFKC", replies.answer_of(reply))
    text = normalise.unwrap(answer)
    bare = text.strip(" ()[]{}<>*`\"'.,:;!/-\u3002")
    if len(bare) == 1 and bare.isascii() and (letter := _number(bare, choices)) is not None:
        return letter
    if (whole := _said_as_a_whole(text, choices)) is not None:
        return whole
    if (stated := _last_stated(text, choices)) is not None:
        return stated
    letters = {number for number, _ in _letters(text, choices)}
    if letters:
        return letters.pop() if len(letters) == 1 else None
    named = set(_named(text, choices))
    return named.pop() if len(named) == 1 else None


def _number(letter: str, choices: Sequence[str]) -> int | None:
    number = string.ascii_uppercase.find(letter.upper())
    return number if 0 <= number < len(choices) else None


def _plain(text: str) -> str:
    """Words of an option to compare: without case, wrappers, a last point, and spaces."""
    return "".join(normalise.unwrap(unicodedata.normalize("NFKC", text)).casefold().split())


def _said_as_a_whole(text: str, choices: Sequence[str]) -> int | None:
    same = [number for number, one in enumerate(choices) if _plain(one) == _plain(text)]
    return same[0] if len(same) == 1 and _plain(text) else None


def _last_stated(text: str, choices: Sequence[str]) -> int | None:
    """What is said to be the answer, the last time that something is."""
    for said in reversed(list(_STATED.finditer(text))):
        rest = text[said.end() :]
        found = _LETTER.match(rest)
        if found and not _is_word(found, rest, may_be_small=True):
            number = _number(found["letter"], choices)
            hedged = re.match(r"\s*(?:or|and|/|&)\s*\(?[A-H]\b", rest[found.end() :])
            if number is not None and not hedged:
                return number
        clause = re.split(r"(?<=[^\d])[.;\n](?!\d)|,\s", rest, maxsplit=1)[0]
        named = set(_named(clause, choices))
        if len(named) == 1:
            return named.pop()
    return None


def _letters(text: str, choices: Sequence[str]) -> Iterator[tuple[int, re.Match]]:
    """Options that are meant by their letters, but for those that are ruled out."""
    for found in _LETTER.finditer(text):
        number = _number(found["letter"], choices)
        if number is None or _is_word(found, text, may_be_small=False):
            continue
        if _AGAINST.search(text[: found.start()]) or _FALSE.match(text, found.end("letter")):
            continue
        yield number, found


def _is_word(found: re.Match, text: str, may_be_small: bool) -> bool:
    """Whether a letter by itself is an article or a pronoun, or too small to be an option."""
    letter, after = found["letter"], text[found.end() :]
    if found["open"] and found["mark"] in (")", "]"):
        return False
    if letter.islower() and not may_be_small:
        return True
    if letter.upper() not in "AI" or found["mark"]:
        return letter.islower() and bool(re.match(r"\s+\w", after)) and not found["mark"]
    return bool(re.match(r"\s+[^\W\d_]", after)) and not re.match(rf"\s+{_VERB}", after)


def _named(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options whose words are in a text, the longest first, but for those that are ruled out."""
    left = unicodedata.normalize("NFKC", text).casefold()
    for number in sorted(range(len(choices)), key=lambda number: -len(choices[number])):
        words = normalise.unwrap(unicodedata.normalize("NFKC", choices[number])).casefold()
        if not words:
            continue
        edge = rf"[{_LATIN.lower()}]"
        for found in reversed(list(re.finditer(rf"(?<!{edge}){re.escape(words)}(?!{edge})", left))):
            if not _AGAINST.search(left[: found.start()]):
                yield number
            left = left[: found.start()] + "\0" * len(words) + left[found.end() :]
