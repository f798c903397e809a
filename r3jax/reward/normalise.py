r"""Bring answers to a common form: the last answer block, wrappers, case, punctuation, articles.

Source: the normalisation of VQA scoring (lower case, punctuation, articles, number words), with two
departures: LaTeX commands keep their case (`\Delta` is not `\delta`), and a point or comma
inside a number belongs to the number.
"""

import re
import unicodedata

_ARTICLES = {"a", "an", "the"}
DIGIT_WORDS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_WRAPPERS = (
    re.compile(r"\\boxed\{(.*)\}", re.DOTALL),
    re.compile(r"\\(?:text(?:bf|rm)?|math(?:bf|rm)|boldsymbol)\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"\$\$(.*)\$\$|\$([^$]*)\$", re.DOTALL),
    re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\*\*(.*)\*\*", re.DOTALL),
    re.compile(r'"([^"]*)"'),
    re.compile(r"`([^`]*)`"),
)


def last_answer(text: str) -> str | None:
    """Content of the last `<answer>...</answer>` of a text, or None if none is closed.

    >>> last_answer("<answer>A</answer> no: <answer>B</answer>")
    'B'
    """
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end) if end >= 0 else -1
    return text[start + len("<answer>") : end].strip() if start >= 0 else None


def unwrap(text: str) -> str:
    r"""Remove what encloses a whole answer: `$..$`, `\boxed{..}`, `**..**`, quotes, a last point.

    >>> unwrap("**$\\boxed{3}$**.")
    '3'
    """
    text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    text = " ".join(text.split())
    changed = True
    while changed:
        before = text
        text = re.sub(r"(?<=[^.])\.$", "", text).strip()
        for wrapper in _WRAPPERS:
            if match := wrapper.fullmatch(text):
                text = next(group for group in match.groups() if group is not None).strip()
        changed = text != before
    return text


def words(text: str) -> list[str]:
    r"""The normalised words of an answer.

    >>> words("The U.S. has two men's stores, 1,000 in all")
    ['us', 'has', '2', 'mens', 'stores', '1000', 'in', 'all']
    """
    pieces = re.split(r"(\\[A-Za-z]+)", text)  # every second piece is a LaTeX command
    text = "".join(part if i % 2 else part.lower() for i, part in enumerate(pieces))
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"'|\.(?!\d)|(?<=[^\d\s])\.", "", text)
    text = re.sub(r"(?<=\S)-|-(?![\d.])|:(?!\d)|(?<!\d):", " ", text)
    text = re.sub(r"""[;/\[\]"{}()=>_,`<@?!~|*&]""", " ", text)
    found = [DIGIT_WORDS.get(word, word) for word in text.split()]
    return [word for word in found if word not in _ARTICLES] or found
