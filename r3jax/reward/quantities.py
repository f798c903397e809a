"""Numbers as people write them: "1,000", "- 3", "1/2", "twenty-one", "12 cm", "$5M", "50%".

Values are exact fractions, so "0.5" equals "1/2" and twenty-digit numbers that differ in the last
digit differ. Nothing is ever evaluated as code.
"""

import dataclasses
import re
from fractions import Fraction

MAX_DIGITS = 40  # longer runs of digits are identifiers, not numbers

# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
# fmt: on
_UNIT_NAMES = """
    nm µm mm cm dm m km in inch inches ft foot feet yd yard mi mile acre ha hectare sqft sqm
    millimeter millimetre centimeter centimetre meter metre kilometer kilometre
    mg g gm kg t lb lbs oz gram kilogram pound ounce ton tonne
    ml cl dl l liter litre gal gallon pint
    ns µs ms s sec second min minute h hr hour day week month yr year
    mph kph kmh kmph rpm knot c f degree celsius fahrenheit percent pct
    n j kj cal kcal calorie w kw mw kwh watt v kv volt a ma mah amp hz khz mhz ghz ohm
    pa kpa bar psi db hp mol bit byte kb mb gb tb mbps gbps mp px pixel dpi
    dollar cent euro yen usd eur gbp jpy inr
"""
_UNITS = frozenset(_UNIT_NAMES.split())  # in lower case, words in the singular
_WORDS = {word: value for value, word in enumerate(_ONES)}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * value for value, word in enumerate(_DECADES, start=2)}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
# Behind digits: "5k", "$5M". A small m is a metre, a small b is nothing.
_FACTORS = {**_SCALES, "k": 10**3, "K": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9}
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_LITERAL = re.compile(rf"([+-]?)\s*({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?")
_QUANTITY = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<prefix>[$€£¥]?)\s*(?P<number>(?:{_DECIMAL})(?:\s*/\s*(?:{_DECIMAL}))?)"
    rf"(?:\s*(?P<scale>{'|'.join(_FACTORS)}|(?i:{'|'.join(_SCALES)}))(?![A-Za-z/²³]))?"
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

    A scale is a factor: "5 million" and "5M" are 5000000. Words that are no units are refused.

    >>> parse_quantity("12cm"), parse_quantity("$5").unit, parse_quantity("12 red")
    (Quantity(value=Fraction(12, 1), unit='cm'), '$', None)
    >>> parse_quantity("2.5 thousand km")
    Quantity(value=Fraction(2500, 1), unit='km')
    """
    text = text.strip().replace("−", "-")  # noqa: RUF001
    number = parse_number(text)
    if number is not None:
        return Quantity(number, "")
    match = _QUANTITY.fullmatch(text)
    if not match or not _is_unit(match["unit"] or ""):
        return None  # "2nd", "5 pm", "5 no": words, not measures
    value = parse_number(match["sign"] + match["number"])
    if value is None:
        return None
    scale = match["scale"] or ""
    value *= _FACTORS.get(scale) or _FACTORS.get(scale.lower(), 1)
    return Quantity(value, match["prefix"] + (match["unit"] or ""))


def _is_unit(text: str) -> bool:
    """Whether the text is nothing, a sign, or units: "", "%", "° C", "cm²", "km/h"."""
    if text[:1] in ("", "%", "°"):
        return True
    parts = text.lower().rstrip("²³").split("/")
    singular = [part.removesuffix("s") if len(part) > 2 else part for part in parts]
    return all(part in _UNITS or one in _UNITS for part, one in zip(parts, singular))


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
