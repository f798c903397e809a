"""Numbers as people write them: "1,000", "- 3", "1/2", "twenty-one", "12 cm", "$5", "50%".

Values are exact fractions, so "0.5" equals "1/2" and twenty-digit numbers that differ in the last
digit differ. Nothing is ever evaluated as code.
"""

import dataclasses
import re
from fractions import Fraction

MAX_DIGITS = 40  # longer runs of digits are identifiers, not numbers

# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
# fmt: on
_WORDS = {word: value for value, word in enumerate(_UNITS)}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * value for value, word in enumerate(_DECADES, start=2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_LITERAL = re.compile(rf"([+-]?)\s*({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?")
_QUANTITY = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<prefix>[$€£¥]?)\s*(?P<number>(?:{_DECIMAL})(?:\s*/\s*(?:{_DECIMAL}))?)"
    r"\s*(?P<unit>%|°\s?[CFcf]?|[A-Za-zµ]{1,12}(?:/[A-Za-z]{1,6})?[²³]?)?"
)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number with the unit that was written beside it ("" where there was none)."""

    value: Fraction
    unit: str


def is_number_word(text: str) -> bool:
    """Whether every word of the text spells a number ("two", "twenty-one")."""
    return _spelled(text) is not None


def parse_number(text: str) -> Fraction | None:
    """Read a whole text as one number, or None.

    >>> parse_number("1,000"), parse_number("- 3"), parse_number("1/2"), parse_number("1,2,3")
    (Fraction(1000, 1), Fraction(-3, 1), Fraction(1, 2), None)
    """
    text = text.strip().replace("−", "-")  # noqa: RUF001 (the Unicode minus is the point)
    match = _LITERAL.fullmatch(text)
    if not match:
        return _spelled(text)
    if sum(character.isdigit() for character in text) > MAX_DIGITS or not text.isascii():
        return None
    sign, numerator, denominator = match.groups()
    value = Fraction(numerator.replace(",", ""))
    if denominator is not None:
        below = Fraction(denominator.replace(",", ""))
        if below == 0:
            return None
        value /= below
    return -value if sign == "-" else value


def parse_quantity(text: str) -> Quantity | None:
    """Read a whole text as a number with an optional unit or currency sign, or None.

    >>> parse_quantity("12cm"), parse_quantity("$5").unit, parse_quantity("twelve red cars")
    (Quantity(value=Fraction(12, 1), unit='cm'), '$', None)
    """
    text = text.strip().replace("−", "-")  # noqa: RUF001
    number = parse_number(text)
    if number is not None:
        return Quantity(number, "")
    match = _QUANTITY.fullmatch(text)
    if not match:
        return None
    if (match["unit"] or "").lower() in ("st", "nd", "rd", "th", "am", "pm"):
        return None  # an ordinal or a time of day is a word, not a measure
    value = parse_number(match["sign"] + match["number"])
    return None if value is None else Quantity(value, match["prefix"] + (match["unit"] or ""))


def has_leading_zero(text: str) -> bool:
    """Whether the text is a digit string such as "007", where the zeros may be part of a code."""
    return re.fullmatch(r"0\d+", text.strip()) is not None


def _spelled(text: str) -> Fraction | None:
    """Value of a number in English words, or None."""
    words = text.lower().replace("-", " ").split()
    if not words:
        return None
    total, current, last = 0, 0, None
    for word in words:
        if word in _WORDS and last in (None, "tens", "scale"):
            if last == "tens" and not 1 <= _WORDS[word] <= 9:
                return None
            current, last = current + _WORDS[word], "unit"
        elif word in _TENS and last in (None, "scale"):
            current, last = current + _TENS[word], "tens"
        elif word == "hundred" and last == "unit":
            current, last = current * 100, "scale"
        elif word in _SCALES and word != "hundred" and last is not None:
            total, current, last = total + current * _SCALES[word], 0, "scale"
        elif not (word == "and" and last == "scale"):
            return None
    return Fraction(total + current)
