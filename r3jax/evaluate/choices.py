"""Which of a question's options a reply chooses: by its letter or by its words.

A reply chooses an option where a careful reader has no doubt. "A man", "Because", "Cannot tell"
are words, no letters; an option that is ruled out is none; two options are none.

Source: our own departure. Published scorers take the first letter of a word for an option, or a
letter inside one, or fail on "(B)"; docs/evaluation.md counts where verdicts differ.
"""

import numbers
import re
import string
from collections.abc import Iterator, Sequence

from r3jax.evaluate import replies, wordings
from r3jax.evaluate.wordings import LATIN
from r3jax.reward import normalise

# A letter by itself: in no word, number or formula. What follows tells an article from an option.
_LETTER = re.compile(
    rf"(?<![{LATIN}\\^+#'])(?P<open>[(\[]?)(?P<letter>[A-Za-z])(?P<mark>[)\].:,]?)"
    rf"(?![{LATIN}+#^])(?!['-]\w)"
)
_IS = r"(?:is|are|should be|would be|must be|是|为|は|은)"
_STATED = re.compile(  # what follows is said to be the answer; the last time counts
    rf"(?:\banswers?\b|\b(?:choice|option)(?=\s*(?:[:=]|{_IS}\b))"
    r"|\bi(?:'d| would| will|'ll)?\s+(?:choose|pick|select|go with|say)|答案|答え|정답|选"
    r"|\b(?:hence|thus|therefore|so|but|actually|on (?:reflection|second thought)|it must be),?"
    r"(?:\s+(?:it (?:is|must be)|it's|option|choice))*"
    r"(?=\s*\**\(?(?-i:[A-J])\)?\**\s*(?:[.,;!\n]|$)))"
    rf"(?:\s*{_IS})?[\s:=*\"'{{_]*",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\s*(?:,|or|and|/|&)\s*(?:or\s+|maybe\s+|option\s+)?\(?[A-H]\b"
    r"(?!\s*[.):]?\s+(?!or\b|and\b)\w)"
)
_LINE = re.compile(
    r"[\s*_#>-]*(?:Option |Answer: )?\(?(?P<letter>[A-J])[).:]*[*_\s]+(?P<words>[^*_]+)[*_\s]*"
)
_PRAISED = re.compile(  # a letter that is said to be right, not on the right
    rf"(?<![{LATIN}\\^+#'])(?P<letter>[A-J])[)\].]?\s+(?:is|would be|must be|seems|looks)\s+"
    r"(?:(?:the|clearly|definitely|probably|indeed|therefore|thus)\s+)*"
    r"(?:correct|right|best|better|most likely|answer)"
    r"(?=\W*$|[.,;:!)]|\s+(?:because|since|as|than|here|option|choice|answer|one)\b)"
)
_IF = re.compile(r"\b(?:if|whether)\s+(?:option\s+)?\(?$", re.IGNORECASE)
_MOST = 400  # characters in which an option is said
_BACK = 60  # characters before a letter that may say what it is
_SMALL = re.compile(r"\b(?:option|choice)\s+$", re.IGNORECASE)
_VERB = (
    r"(?:is|was|or|and|because|since|as|seems|appears|rather|but|for|from|with|based|given"
    r"|fits|matches|shows|describes|remains|would|should|could|can|I)\b"
)


def wanted(answer: object, options: Sequence[str]) -> int | None:
    """The number of the option that an answer names: by number, from 0 on, by letter or by words;
    None where it names none.

    >>> wanted(1, ["red", "blue"]), wanted("(b)", ["red", "blue"]), wanted("Blue", ["red", "blue"])
    (1, 1, 1)
    """
    is_number = isinstance(answer, numbers.Real) and not isinstance(answer, bool)
    if is_number and float(answer).is_integer():  # a float in a table with gaps
        return int(answer) if 0 <= answer < len(options) else None
    return chosen(str(answer), options)


def chosen(reply: str, choices: Sequence[str]) -> int | None:
    """The number of the option that a reply chooses, or None.

    >>> chosen("The answer is cotton.", ["rubber", "cotton"]), chosen("A man", ["rubber", "cotton"])
    (1, None)
    """
    answer = wordings.with_signs(replies.answer_of(reply)).replace("\u2019", "'")
    choices = [wordings.with_signs(one) for one in choices]
    text = normalise.unwrap(answer)
    alone = text.strip(" ()[]{}<>*`\"'.,:;!/-_\u3002")
    if len(alone) == 1 and alone.isascii() and (letter := _number(alone, choices)) is not None:
        return letter
    if same := wordings.said_as_a_whole(text, choices):
        return same[0] if len(same) == 1 else None
    if (stated := _last_stated(answer, choices)) is not None:
        return stated
    for read in (_lines, _praised, _letters, wordings.named, wordings.counted, wordings.by_figure):
        if found := set(read(answer, choices)):
            return found.pop() if len(found) == 1 else None
    return None


def _number(letter: str, choices: Sequence[str]) -> int | None:
    number = string.ascii_uppercase.find(letter.upper())
    return number if 0 <= number < len(choices) else None


def _before(text: str, found: re.Match) -> str:
    return text[max(0, found.start() - _BACK) : found.start()]


def _last_stated(text: str, choices: Sequence[str]) -> int | None:
    """What is said to be the answer, the last time that something is."""
    for said in reversed(list(_STATED.finditer(text))):
        rest = text[said.end() :][:_MOST]
        if wordings.is_denied(text, said.start()) or re.match(r"(?:not|n't)\b|不", rest, re.I):
            continue
        clause = re.split(r"(?<=[^\d])[.;\n](?!\d)|,\s", rest, maxsplit=1)[0]
        same = wordings.said_as_a_whole(clause, choices) if len(clause.strip()) > 1 else []
        if len(same) == 1:
            return same[0]
        found = _LETTER.match(rest)
        if found and not _is_word(found, rest, choices):
            number = _number(found["letter"], choices)
            is_hedged = _HEDGE.match(rest, found.end("letter"))
            out = wordings.is_ruled_out(rest, found.start(), found.end("letter"))
            if number is not None and not (is_hedged or out):
                return number
        named = set(wordings.named(clause, choices))
        if len(named) == 1:
            return named.pop()
    return None


def _lines(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options that are a line of a text, by letter and words."""
    for line in text.split("\n"):
        found = _LINE.fullmatch(line[:_MOST])
        number = _number(found["letter"], choices) if found else None
        if number is not None and wordings.said_as_a_whole(found["words"], [choices[number]]):
            yield number


def _praised(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options whose letters are said to be right."""
    for found in _PRAISED.finditer(text):
        number = _number(found["letter"], choices)
        is_open = _IF.search(_before(text, found)) or wordings.is_denied(text, found.start())
        if number is not None and not is_open:
            yield number


def _letters(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options that are meant by their letters, but for those that are ruled out."""
    for found in _LETTER.finditer(text):
        number, before = _number(found["letter"], choices), _before(text, found)
        is_marked = (found["open"] and found["mark"] in (")", "]")) or _is_line(text, found)
        is_small = found["letter"].islower() and not is_marked
        if number is None or (is_small and not _SMALL.search(before)):
            continue
        if not is_small and _is_word(found, text):
            continue
        if not wordings.is_ruled_out(text, found.start(), found.end("letter")):
            yield number


def _is_line(text: str, found: re.Match) -> bool:
    """Whether a letter is all that its line says."""
    begin, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
    line = text[begin : end if end >= 0 else len(text)]
    return len(line) < _BACK and re.fullmatch(r"\W*[A-Za-z]\W*", line) is not None


def _is_word(found: re.Match, text: str, choices: Sequence[str] = ()) -> bool:
    """Whether a letter by itself is an article or a pronoun. After "the answer is" (where the
    options are given) a capital is one only where an option goes on with the words after it."""
    letter, after = found["letter"], text[found.end() :][:_BACK]
    if letter.upper() not in "AI" or found["mark"] or not re.match(r"[^\S\n]+[^\W\d_]", after):
        return False
    if choices and letter.isupper():
        noun = wordings.plain(after.split()[0])
        return any(noun in wordings.plain(one) for one in choices)
    return letter.islower() or not re.match(rf"\s+{_VERB}", after)
