r"""Compare mathematical answers by their values: `\frac{3}{4}` is `0.75`, `1+x^2` is `x^2+1`.

A small recursive-descent parser for arithmetic, roots, pi and one-letter variables, in LaTeX or in
plain text. Variables get fixed values at a few points, so two polynomials are equal when they
agree at all of them. Text that is not such an expression gives None: the rules cannot tell.

    sum     = product (("+" | "-") product)*
    product = power (("*" | "/" | nothing) power)*
    power   = atom ("^" signed atom)?
    atom    = number | letter | pi | sqrt atom | frac atom atom | "(" sum ")"
"""

import math
import re

MAX_CHARACTERS = 200
MAX_EXPONENT = 64.0
_POINTS = (0.7310585, 1.6180339, 2.2360679)  # where variables are evaluated
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|pi|sqrt|[A-Za-z]|[-+*/^(){}\[\]])")
_REPLACEMENTS = (
    (r"\\[dt]frac", r"\\frac"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\\left|\\right|\\[,;!: ]|\$", ""),
    (r"\\(?:text|mathrm|mbox)\{([^{}]*)\}", r"\1"),
    (r"\\cdot|\\times|×|·", "*"),  # noqa: RUF001
    (r"\\div|÷", "/"),
    (r"\^\{?\\circ\}?|°|\\degree", ""),
    (r"\\pi|π", " pi "),
    (r"√|\\sqrt", " sqrt "),
    (r"\*\*", "^"),
    (r"−", "-"),  # noqa: RUF001
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
)


class _NotAnExpression(ValueError):
    """The text is no expression of the grammar above, or has no finite value."""


def same_value(first: str, second: str, tolerance: float = 1e-9) -> bool | None:
    """Whether two expressions have the same value, to this `tolerance` at least; None if either
    cannot be read.

    An equation "x = 3" is compared by its right side where the left side is the same or absent.
    """
    left_first, right_first = _split_equation(first)
    left_second, right_second = _split_equation(second)
    if left_first and left_second and left_first != left_second:
        return None
    values = [_evaluate(right_first), _evaluate(right_second)]
    if values[0] is None or values[1] is None:
        return None
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=tolerance) for a, b in zip(*values))


def _split_equation(text: str) -> tuple[str, str]:
    """The sides of "x = 3"; the left side is "" unless it is one letter."""
    match = re.fullmatch(r"\s*\$?\s*([A-Za-z])\s*=([^=]+)", text)
    return (match[1], match[2]) if match else ("", text)


def _evaluate(text: str) -> tuple[float, ...] | None:
    """Values of an expression at the fixed points, or None."""
    if len(text) > MAX_CHARACTERS:
        return None
    for pattern, replacement in _REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    tokens, end = [], 0
    while match := _TOKEN.match(text, end):
        tokens.append(match[1])
        end = match.end()
    if not tokens or text[end:].strip():
        return None
    try:
        return tuple(_Parser(tokens, point).parse() for point in _POINTS)
    except (_NotAnExpression, ZeroDivisionError, OverflowError):
        return None


class _Parser:
    """One pass over the tokens with every variable at a value derived from `point`."""

    def __init__(self, tokens: list[str], point: float):
        self.tokens, self.point, self.index = tokens, point, 0

    def parse(self) -> float:
        value = self.sum()
        if self.index != len(self.tokens) or not math.isfinite(value):
            raise _NotAnExpression
        return value

    def peek(self) -> str:
        return self.tokens[self.index] if self.index < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.index += 1
        return token

    def sum(self) -> float:
        sign = -1.0 if self.peek() == "-" else 1.0
        if self.peek() in ("+", "-"):
            self.take()
        value = sign * self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> float:
        value = self.power()
        while self.peek() and self.peek() not in ("+", "-", ")", "}", "]", "^"):
            operator = self.take() if self.peek() in ("*", "/") else "*"
            value = value / self.power() if operator == "/" else value * self.power()
        return value

    def power(self) -> float:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        sign = -1.0 if self.peek() == "-" else 1.0
        if sign < 0:
            self.take()
        exponent = sign * self.atom()
        if abs(exponent) > MAX_EXPONENT:
            raise _NotAnExpression
        value = base**exponent
        if isinstance(value, complex):
            raise _NotAnExpression
        return value

    def atom(self) -> float:
        token = self.take()
        if token in ("(", "{", "["):
            value = self.sum()
            if self.take() != {"(": ")", "{": "}", "[": "]"}[token]:
                raise _NotAnExpression
            return value
        if token == "pi":
            return math.pi
        if token == "sqrt":
            inside = self.atom()
            if inside < 0:
                raise _NotAnExpression
            return math.sqrt(inside)
        if token == r"\frac":
            return self.atom() / self.atom()
        if re.fullmatch(r"[A-Za-z]", token):
            return self.point * (1 + ord(token) / 128)  # another value for every letter
        if re.fullmatch(r"[\d.]+", token):
            return float(token)
        raise _NotAnExpression
