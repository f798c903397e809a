"""Which of a question's options a reply chooses: by its letter or by its words.

A reply chooses an option where a careful reader has no doubt. "A man", "Because", "Cannot tell"
are words, no letters; an option that is ruled out is none; two options are none.

Source: our own departure. Published scorers take the first letter of a word for an option, or a
letter inside one, or fail on "(B)"; docs/evaluation.md counts where verdicts differ.
"""

import numbers
import re
import string
import unicodedata
from collections.abc import Iterator, Sequence

from r3jax.evaluate import replies
from r3jax.reward import expressions, normalise

_LATIN = "A-Za-z0-9_\u00c0-\u024f"
# A letter by itself: in no word, number or formula. What follows tells an article from an option.
_LETTER = re.compile(
    rf"(?<![{_LATIN}\\^+#'])(?P<open>[(\[]?)(?P<letter>[A-Za-z])(?P<mark>[)\].:,]?)"
    rf"(?![{_LATIN}+#^])(?!['-]\w)"
)
_IS = r"(?:is|are|should be|would be|must be|是|为|は|은)"
_STATED = re.compile(  # what follows is said to be the answer; the last time counts
    rf"(?:\banswers?\b|\b(?:choice|option)(?=\s*(?:[:=]|{_IS}\b))"
    r"|\bi(?:'d| would| will|'ll)?\s+(?:choose|pick|select|go with|say)|答案|答え|정답|选)"
    rf"(?:\s*{_IS})?[\s:=*\"'{{_]*",
    re.IGNORECASE,
)
_NOT = r"(?:\bnot|n't|\bcannot|\brather than|\binstead of|\bnor|\bneither|\bexcept|\bno|不)"
_AGAINST = re.compile(
    rf"{_NOT}\s*(?:(?:be|made|of|the|an?|option|for|choose|pick|select)\s+|选|是)*"
    r"(?:[\w(\0]+\)?\s+or\s+)?$",
    re.IGNORECASE,
)
_FALSE = re.compile(
    r"[)\].:]?(?:\s+(?!(?:it|this|that|because|since|as|so|and)\b)[^\s.;,:]+)?"
    r"\s+(?:(?:is|are|was|were|seems?|looks?|would be)\s+"
    r"(?:wrong|incorrect|unlikely|impossible|false|not\b)|(?:can|could) be ruled out)",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\s*(?:,|or|and|/|&)\s*(?:or\s+|maybe\s+|option\s+)?\(?[A-H]\b(?!\s*[.):]?\s+\w)"
)
_SMALL = re.compile(r"\b(?:option|choice)\s+$", re.IGNORECASE)
_VERB = (
    r"(?:is|was|or|and|because|since|as|seems|appears|rather|but|for|from|with|based|given"
    r"|fits|matches|would|should|could|can)\b"
)
_LISTED = re.compile(r"(?:^|(?<=\s))(\(?)([A-Ja-j])([).:\u3001]|\uff0e)\s*(?=\S)")
_HEADING = re.compile(r"\b(?:Options|Choices):", re.IGNORECASE)
_BACK = 60  # characters before a mention in which it may be ruled out


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
    answer = unicodedata.normalize("NFKC", replies.answer_of(reply)).replace("\u2019", "'")
    text = normalise.unwrap(answer)
    alone = text.strip(" ()[]{}<>*`\"'.,:;!/-_\u3002")
    if len(alone) == 1 and alone.isascii() and (letter := _number(alone, choices)) is not None:
        return letter
    if same := _said_as_a_whole(text, choices):
        return same[0] if len(same) == 1 else None
    if (stated := _last_stated(answer, choices)) is not None:
        return stated
    letters = set(_letters(answer, choices))
    if letters:
        return letters.pop() if len(letters) == 1 else None
    named = set(_named(answer, choices))
    return named.pop() if len(named) == 1 else None


def _number(letter: str, choices: Sequence[str]) -> int | None:
    number = string.ascii_uppercase.find(letter.upper())
    return number if 0 <= number < len(choices) else None


def _plain(text: str) -> str:
    """Words of an option to compare: without case, wrappers, a last point, and spaces."""
    text = normalise.unwrap(unicodedata.normalize("NFKC", text)).casefold()
    return "".join(normalise.DIGIT_WORDS.get(text, text).split()).replace("\u2212", "-")


def _said_as_a_whole(text: str, choices: Sequence[str]) -> list[int]:
    """The options that a text is: word for word, or in value."""
    given = _plain(text)
    if not given:
        return []
    plain = [_plain(one) for one in choices]
    if found := [number for number, one in enumerate(plain) if one == given]:
        return found
    if not any(letter.isdigit() for letter in given):
        return []
    return [number for number, one in enumerate(plain) if expressions.same_value(given, one)]


def _last_stated(text: str, choices: Sequence[str]) -> int | None:
    """What is said to be the answer, the last time that something is."""
    for said in reversed(list(_STATED.finditer(text))):
        if re.search(rf"{_NOT}\s*$", text[max(0, said.start() - _BACK) : said.start()], re.I):
            continue
        rest = text[said.end() :][:400]
        if re.match(r"(?:not|n't)\b|不", rest, re.IGNORECASE):
            continue
        found = _LETTER.match(rest)
        if found and not _is_word(found, rest, choices):
            number = _number(found["letter"], choices)
            after = rest[found.end("letter") :]
            if number is not None and not (_HEDGE.match(after) or _FALSE.match(after)):
                return number
        clause = re.split(r"(?<=[^\d])[.;\n](?!\d)|,\s", rest, maxsplit=1)[0]
        named = set(_named(clause, choices))
        if len(named) == 1:
            return named.pop()
    return None


def _letters(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options that are meant by their letters, but for those that are ruled out."""
    for found in _LETTER.finditer(text):
        number = _number(found["letter"], choices)
        before = text[max(0, found.start() - _BACK) : found.start()]
        is_small = found["letter"].islower() and not (found["open"] and found["mark"] in (")", "]"))
        if number is None or (is_small and not _SMALL.search(before)):
            continue
        if not is_small and _is_word(found, text):
            continue
        if not (_AGAINST.search(before) or _FALSE.match(text, found.end("letter"))):
            yield number


def _is_word(found: re.Match, text: str, choices: Sequence[str] = ()) -> bool:
    """Whether a letter by itself is an article or a pronoun. After "the answer is" (where the
    options are given) a capital is one only where an option goes on with the words after it."""
    letter, after = found["letter"], text[found.end() :][:_BACK]
    if letter.upper() not in "AI" or found["mark"] or not re.match(r"[^\S\n]+[^\W\d_]", after):
        return False
    if choices and letter.isupper():
        noun = _plain(after.split()[0])
        return any(noun in _plain(one) for one in choices)
    return letter.islower() or not re.match(rf"\s+{_VERB}", after)


def _named(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options whose words are in a text, the longest first, but for those that are ruled out."""
    left = unicodedata.normalize("NFKC", text).casefold()
    for number in sorted(range(len(choices)), key=lambda number: -len(choices[number])):
        words = normalise.unwrap(unicodedata.normalize("NFKC", choices[number])).casefold()
        if not words:
            continue
        mentions = list(_mention(words).finditer(left))
        for found in mentions:
            before = left[max(0, found.start() - _BACK) : found.start()]
            if not (_AGAINST.search(before) or _FALSE.match(left, found.end())):
                yield number
        if mentions:
            left = _mention(words).sub(lambda found: "\0" * len(found[0]), left)


def _mention(words: str) -> re.Pattern:
    """The words of an option in a text: by themselves, and a number in no other number."""
    edge = rf"[{_LATIN.lower()}]"
    before = r"(?<![-\u2212+./,:^\u221a{])" if words[0].isdigit() else ""
    behind = r"(?![%:/^\u221a\\]|[.,]\d|[-\u2013]\d)" if words[-1].isdigit() else ""
    return re.compile(rf"(?<!{edge}){before}{re.escape(words)}(?!{edge}){behind}")
