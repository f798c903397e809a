"""Answers of MathVista, MathVision and MMK12: options, rounded numbers, expressions."""

import math
import re
from collections.abc import Sequence

from r3jax.evaluate import choices, replies
from r3jax.records import Verdict
from r3jax.reward import answers, expressions, normalise

MOST_CHARACTERS = 400  # of an expression
_NUMBER = r"[-+]?(?:\d++(?:,\d{3})*+\.?+\d*+|\.\d++)"
_STATED = re.compile(
    rf"(?:\bis|\banswer|\bequals|=)[\s:*]*\$?({_NUMBER})\$?\**[.\s]*$", re.IGNORECASE
)
_SAID = re.compile(
    r"^.*\b(?:answer|result|is|are|equals)\b\s*(?:(?:is|equals|(?:should|would|must) be)\b|:)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_WORDS = (  # a word or two, none of which makes another number of the one before it
    r"(?!(?:or|and|to|times|plus|minus|divided|more|less|pi|sqrt|x|y|n|hundred|thousand|million"
    r"|billion|dozen)\b)[A-Za-z][^\d]*(?:\^\{?[23]\}?)?"
)
_UNIT = re.compile(  # after a number; after an expression of more than one letter, or set as text
    rf"({_NUMBER})(?:\s+|(?=[A-Za-z]{{2}})){_WORDS}"
    r"|([^A-Za-z\\]*(?:\\[A-Za-z]+[^A-Za-z\\]*)*?)"
    rf"(?:\s*\\(?:text|mathrm)\{{\s*|\s+(?=[A-Za-z]{{2}})){_WORDS}"
)


def is_right_vista(
    reply: str,
    answer: str | int,
    question_type: str,
    answer_type: str,
    options: Sequence[str] | None,
    precision: float | None,
    unit: str = "",
) -> bool:
    """Whether a reply answers a question of MathVista.

    An option by letter or words; a number that is the whole answer, in a box, or stated at the end,
    with its `unit` or without, rounded to `precision` digits where it is a float; a list as it
    stands. Of options the `answer` is words, a letter, or the number of the right one.

    Source: the rules that MathVista publishes, for what is left of them without a language model
    that reads the reply first, but for 14.7, which is not 14.
    """
    if question_type == "multi_choice":
        number = choices.chosen(reply, options or ())
        if number is None:
            return False
        return number == _number_of_option(answer, options)
    answer = str(answer)
    text = _last_boxed(replies.answer_of(reply))[-MOST_CHARACTERS:]
    if unit:
        text = re.sub(rf"(?<=[\d\s]){re.escape(unit)}\W*$", "", text)
    if answer_type not in ("integer", "float"):
        return normalise.unwrap(text) == normalise.unwrap(answer)
    given, wanted = _value(text), _number(answer)
    if given is None or wanted is None:
        return False
    digits = None if answer_type == "integer" else _digits(precision)
    return given == wanted if digits is None else round(given, digits) == round(wanted, digits)


def _number_of_option(answer: str | int, options: Sequence[str]) -> int | None:
    """The number of the right option, told by itself, by its words, or by a letter."""
    words = [one.strip() for one in options]
    if isinstance(answer, str) and answer.strip() in words:
        return words.index(answer.strip())
    return choices.wanted(answer, options)


def is_right_vision(reply: str, answer: str | int, options: Sequence[str]) -> bool:
    """Whether a reply answers a question of MathVision: the option of this letter, or the value
    of the expression.

    Source: our own departure. Published scorers evaluate text as a program.
    """
    text = _last_boxed(replies.answer_of(reply))
    if not options:
        return _same_value(text[-MOST_CHARACTERS:], str(answer))
    same = [
        number for number, one in enumerate(options) if _same_value(text, one, with_percent=False)
    ]
    is_letter = re.fullmatch(r"\(?[A-J]\)?\.?", normalise.unwrap(text)) is not None
    given = same[0] if len(same) == 1 and not is_letter else choices.chosen(text, options)
    return given is not None and given == choices.wanted(answer, options)


def is_right_by_rules(reply: str, answer: str, source: str) -> bool:
    """Whether the rules that judge rollouts find a reply right. A number needs no unit, even where
    the answer has one."""
    text = _last_boxed(replies.answer_of(reply))[-MOST_CHARACTERS:]
    pairs = [(one, answer) for one in (text, *_expressions(text))]
    if bare := _without_unit(_said_of(answer)):
        pairs += [(one, bare) for one in map(_said_of, _lines(text)) if is_number(one)]
    return any(answers.judge_by_rules(*pair, source) is Verdict.RIGHT for pair in pairs)


def is_number(text: str) -> bool:
    """Whether an answer is a number in decimals, and nothing else."""
    return _number(normalise.unwrap(text)) is not None


def _digits(precision: float | None) -> int | None:
    found = float("nan") if precision is None else float(precision)
    return int(found) if math.isfinite(found) else None


def _value(text: str) -> float | None:
    """The number that a text is, or states in its first or last line, or at its end."""
    lines = text.split("\n")
    for one in (text, lines[0], lines[-1]):
        if (found := _number(normalise.unwrap(one))) is not None:
            return found
    stated = _STATED.search(normalise.unwrap(text))
    return _number(stated[1]) if stated else None


def _number(text: str) -> float | None:
    """A number as it is written in decimals, without thousands set apart; None for other text."""
    text = text.replace("$", "").replace("\u2212", "-").strip("\u00b0 ")
    if not re.fullmatch(r"[-+]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][-+]?\d++)?", text):
        return None
    value = float(text)
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
    return text[first + 1 :]


def _same_value(text: str, answer: str, with_percent: bool = True) -> bool:
    """Whether two expressions are the same; the first may have words around it, be the other in
    decimals, of two or more, or where `with_percent` a share of a hundred with its sign."""
    if len(text) > MOST_CHARACTERS:
        return False
    wanted = _plain(answer)
    for given in dict.fromkeys(map(_plain, (text, *_expressions(text)))):
        if not given:
            continue
        percent = given.removesuffix("/100") if with_percent else given
        if wanted.casefold() in (given.casefold(), percent.casefold()):
            return True
        if re.search(r"[A-Za-z]{2}", re.sub(r"\\[A-Za-z]+|\b(?:pi|sqrt)\b", "", given)):
            continue  # words: as products of letters they would be the same in any order
        if any(expressions.same_value(one, wanted) for one in (given, percent)):
            return True
        decimals = re.fullmatch(r"-?\d*+\.(\d{2,})", given)
        if decimals and not re.fullmatch(r"-?\d*+\.?+\d*+", wanted):
            half = 0.5000001 * 10.0 ** -len(decimals[1])
            if expressions.same_value(given, wanted, half):
                return True
    return False


def _expressions(text: str) -> list[str]:
    """What may be the expression that a text says, each with its unit and without."""
    said = [_said_of(one) for one in _lines(text)]
    return [*said, *map(_without_unit, said)]


def _lines(text: str) -> list[str]:
    """Where a text may say its answer: as a whole, in its last line, and in its first where words
    follow."""
    first, *more = text.strip().split("\n")
    is_first = more and "=" not in first and re.search(r"[^\W\d_]{2}", more[-1])
    return [text, *more[-1:], *([first] if is_first else [])]


def _said_of(text: str) -> str:
    """An expression without what is said before it: "The answer is 3", "**Answer:** 3"."""
    text = re.sub(r"\*\*(?=\s*:)|(?<=:)\*\*(?=\s)", "", _without_layout(text))
    text = normalise.unwrap(_SAID.sub("", text))
    return re.split(r"\\approx|\u2248", text)[0].rpartition("=")[2].strip()


def _without_unit(text: str) -> str:
    unit = _UNIT.fullmatch(text)
    return (unit[1] or unit[2]) if unit else text


def _without_layout(text: str) -> str:
    """An expression without marks that say how it looks."""
    text = re.sub(r"\\(?:textbf|mathbf)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[,;!$ ]|\$", "", text)
    return text.replace("{,}", ",").replace("\u2212", "-")


def _plain(text: str) -> str:
    """An expression as the rules for expressions read it: a share of a hundred, a power of ten, a
    mixed number written out, without spaces beside signs."""
    text = normalise.unwrap(_without_layout(text)).lstrip("+").strip()
    text = re.sub(r"\s*([(),\[\]:])\s*", r"\1", text)
    text = re.sub(r"(?<=\d)\s*\\?%$", "/100", text)
    text = re.sub(rf"^({_NUMBER})e(\d+)$", r"\1*10^\2", text)
    mixed = re.fullmatch(r"(-?)(\d+)\s*(\\[dt]?frac(?:\d\d|\{\d+\}\{\d+\})|(?<=\s)\d+/\d+)", text)
    return f"{mixed[1]}({mixed[2]}+{mixed[3]})" if mixed else text
