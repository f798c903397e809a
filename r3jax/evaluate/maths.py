"""Answers of MathVista and MathVision: options, numbers to a given precision, expressions."""

import math
import re
from collections.abc import Sequence

from r3jax.evaluate import choices, replies
from r3jax.reward import expressions, normalise

_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)"
_STATED = re.compile(r"(?:\bis|\banswer:?|=)\s*\$?([-+]?[\d.,]*\d)\$?[.\s]*$", re.IGNORECASE)


def is_right_vista(
    reply: str,
    answer: str,
    question_type: str,
    answer_type: str,
    options: Sequence[str] | None,
    precision: float | None,
) -> bool:
    """Whether a reply answers a question of MathVista.

    An option by letter or words; a number that is the whole answer, or stated at the end of it,
    rounded to `precision` digits where it is a float; a list as it stands.

    Source: the rules that MathVista publishes, for what is left of them without a language model
    that reads the reply first, but for 14.7, which is not 14.
    """
    if question_type == "multi_choice":
        number = choices.chosen(reply, options or ())
        return number is not None and options[number].strip() == answer.strip()
    text = normalise.unwrap(replies.answer_of(reply))
    if answer_type not in ("integer", "float"):
        return text == normalise.unwrap(answer)
    given, wanted = _number(text), _number(answer)
    if given is None:
        stated = _STATED.search(text)
        given = _number(stated[1]) if stated else None
    if given is None or wanted is None:
        return False
    digits = int(precision or 0) if answer_type == "float" else None
    return given == wanted if digits is None else round(given, digits) == round(wanted, digits)


def is_right_vision(reply: str, answer: str, options: Sequence[str]) -> bool:
    """Whether a reply answers a question of MathVision: the option of this letter, or the value
    of the expression.

    Source: our own departure. Published scorers evaluate text as a program.
    """
    text = normalise.unwrap(_last_boxed(replies.answer_of(reply)))
    if options:
        wanted = choices.chosen(answer, options)
        given = choices.chosen(text, options)
        if given is None:
            same = [n for n, one in enumerate(options) if _same_value(text, one)]
            given = same[0] if len(same) == 1 else None
        return wanted is not None and given == wanted
    return _same_value(text, answer)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("$", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _last_boxed(text: str) -> str:
    r"""What the last `\boxed{...}` of a text holds, braces within it balanced; else the text."""
    begin = text.rfind("\\boxed{")
    if begin < 0:
        return text
    depth, first = 0, begin + len("\\boxed")
    for at in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[first + 1 : at]
    return text


def _same_value(text: str, answer: str) -> bool:
    """Whether two expressions are the same; the first may have words around it, or be the other in
    decimals, of two or more."""
    wanted = _plain(answer)
    for given in dict.fromkeys((_plain(text), _plain(_said_of(text)))):
        if given == wanted != "" or expressions.same_value(given, wanted):
            return True
        decimals = re.fullmatch(r"-?\d*\.(\d{2,})", given)
        if decimals and not re.fullmatch(r"-?\d*\.?\d+", wanted):
            half = 0.5000001 * 10.0 ** -len(decimals[1])
            if expressions.same_value(given, wanted, half):
                return True
    return False


def _said_of(text: str) -> str:
    """An expression without what is said before it ("The answer is 3") and its unit."""
    text = re.sub(r"^.*\b(?:answer|result|is)\b\s*(?:is\b|:)?\s*", "", text, flags=re.IGNORECASE)
    unit = re.fullmatch(
        rf"({_NUMBER})(?:\s+|\s*\\(?:text|mathrm)\{{\s*|(?=[A-Za-z]{{2}}))[A-Za-z].*", text
    )
    return unit[1] if unit else text


def _plain(text: str) -> str:
    """An expression as the rules for expressions read it: a share of a hundred, a power of ten, a
    mixed number written out."""
    text = normalise.unwrap(text).replace("$", "").lstrip("+").strip()
    text = re.sub(r"(?<=\d)\s*\\?%$", "/100", text)
    text = re.sub(rf"^({_NUMBER})e(\d+)$", r"\1*10^\2", text)
    text = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", text)
    return re.sub(r"(?<=\d)\s*(?=\\[dt]?frac)", "+", text)
