"""Options by their words: those that a text is, names, or counts, but for those that it rules out.

Texts and options are those that `with_signs` gives.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from r3jax.reward import expressions, normalise

LATIN = "A-Za-z0-9_\u00c0-\u024f"
_NOT = (
    r"(?:\bnot|n't|\bcannot|\brather than|\binstead of|\bnor|\bneither|\bexcept|\bno|不"
    r"|\b(?:eliminat|exclud)(?:e[sd]?|ing)|\brul(?:e[sd]?|ing) out)"
)
_AGAINST = re.compile(
    rf"{_NOT}\s*(?:(?:be|made|of|the|an?|option|for|choose|pick|select)\s+|选|是)*"
    r"(?:[\w(\0]+\)?\s+or\s+)?$",
    re.IGNORECASE,
)
_FALSE = re.compile(
    r"[)\].:]?(?:\s+(?!(?:it|this|that|there|they|these|those|which|because|since|as|so|and|[A-J])\b)"
    r"[^\s.;,:]+)?\s+(?:(?:is|are|was|were|seems?|looks?|would be)\s+"
    r"(?:wrong|incorrect|unlikely|impossible|false|not\b|(?:ruled )?out\b|excluded|eliminated)"
    r"|(?:can|could) be (?:ruled out|excluded|eliminated))",
    re.IGNORECASE,
)
_SIGNS = (  # words for signs that stand beside numbers
    (re.compile(r"(?<=\d)\s*degrees?\b", re.IGNORECASE), "\u00b0"),
    (re.compile(r"(?<=\d)\s*percent\b", re.IGNORECASE), "%"),
    (re.compile(r"(?<![\d.,$])(\d[\d,.]*)\s+dollars?\b", re.IGNORECASE), r"$\1"),
    (re.compile(r"\\pm\s*"), "\u00b1"),
)
_ARTICLE = re.compile(r"^\s*(?:an?|the)\s+(?=[^\W\d_])", re.IGNORECASE)
_FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?")
_LAST_FIGURE = re.compile(rf"(?:^|[\s(=])({_FIGURE.pattern})[\s.!)*]*$")
# "one" is a number only beside these; elsewhere it stands for a thing.
_COUNT = re.compile(
    rf"\b(?:{'|'.join(word for word in normalise.DIGIT_WORDS if word != 'one')})\b(?!-)"
    r"|(?:(?<=\bonly )|(?<=\bjust )|(?<=\bexactly ))one\b|\bone(?=\s+(?:or|to)\b)",
    re.IGNORECASE,
)
_BACK = 60  # characters before a mention in which it may be ruled out


def with_signs(text: str) -> str:
    """A text with letters and digits of one width, and signs for the words of some units."""
    text = unicodedata.normalize("NFKC", text)
    for words, sign in _SIGNS:
        text = words.sub(sign, text)
    return text


def plain(text: str) -> str:
    """Words of an option to compare: without case, wrappers, a last point, and spaces."""
    text = normalise.unwrap(text).casefold()
    return "".join(normalise.DIGIT_WORDS.get(text, text).split()).replace("\u2212", "-")


def said_as_a_whole(text: str, choices: Sequence[str]) -> list[int]:
    """The options that a text is: word for word, but for an article, or in value."""
    given = plain(text)
    if not given:
        return []
    written = [plain(one) for one in choices]
    nouns = [plain(_ARTICLE.sub("", one)) for one in choices]
    for options, wanted in ((written, given), (nouns, plain(_ARTICLE.sub("", text)))):
        if found := [number for number, one in enumerate(options) if one == wanted]:
            return found
    if not any(letter.isdigit() for letter in given):
        return []
    return [number for number, one in enumerate(written) if expressions.same_value(given, one)]


def is_denied(text: str, start: int) -> bool:
    """Whether what stands before a mention denies it: "not", "rather than"."""
    return _AGAINST.search(text[max(0, start - _BACK) : start]) is not None


def is_ruled_out(text: str, start: int, end: int) -> bool:
    """Whether what a text mentions from `start` to `end` is denied before it, or called wrong after
    it."""
    return is_denied(text, start) or _FALSE.match(text, end) is not None


def named(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options whose words are in a text, the longest first, but for those that are ruled out."""
    left = text.casefold()
    for number in sorted(range(len(choices)), key=lambda number: -len(choices[number])):
        words = normalise.unwrap(choices[number]).casefold()
        if not words:
            continue
        mentions = list(_mention(words).finditer(left))
        for found in mentions:
            if not is_ruled_out(left, found.start(), found.end()):
                yield number
        if mentions:
            left = _mention(words).sub(lambda found: "\0" * len(found[0]), left)


def counted(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Options whose words are in a text once its number words are digits."""
    in_digits = _COUNT.sub(lambda found: normalise.DIGIT_WORDS[found[0].casefold()], text)
    return named(in_digits, choices)


def by_figure(text: str, choices: Sequence[str]) -> Iterator[int]:
    """Where options differ in one figure alone ("Exit 5", "Exit 15"): that at the end of a text
    that has no other figure, without a unit that may be another one."""
    figures = [_FIGURE.findall(one) for one in choices]
    words = {_FIGURE.sub("", one) for one in choices}
    said = _LAST_FIGURE.search(text)
    if len(words) == 1 and "" not in words and said and len(_FIGURE.findall(text)) == 1:
        yield from (number for number, found in enumerate(figures) if found == [said[1]])


def _mention(words: str) -> re.Pattern:
    """The words of an option in a text: by themselves, and a number in no other number."""
    edge = rf"[{LATIN.lower()}]"
    before = r"(?<![-\u2212\u00b1+./,:^\u221a{])" if words[0].isdigit() else ""
    behind = r"(?![%:/^\u221a\\]|[.,]\d|[-\u2013]\d)" if words[-1].isdigit() else ""
    return re.compile(rf"(?<!{edge}){before}{re.escape(words)}(?!{edge}){behind}")
