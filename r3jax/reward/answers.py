"""Judge an answer by rules: right, wrong, or unknown where a judge has to read it.

The rules decide what is decidable without understanding: options, numbers, yes and no, codes,
the same words. A sentence that is not the gold answer word for word is left to a judge. Short
answers in other words are wrong, but for data sets with an open vocabulary (`OPEN_SOURCES`), where
a synonym may be right, they are unknown.
"""

import itertools
import re

from r3jax.records import Verdict
from r3jax.reward import expressions, normalise, quantities

MATH_SOURCES = frozenset({"MMK12"})
OPEN_SOURCES = frozenset({"gqa", "textvqa", "docvqa", "infographicsvqa", "scienceqa", "vsr"})
MAX_SHORT_WORDS = 4  # an answer of more words is a sentence

_OPTION = re.compile(
    r"(?:(?:the )?(?:correct |final )?(?:answer|option|choice)(?: is)?:?\s*)?"
    r"(?:\((?P<p>[A-H])\)|(?P<b>[A-H]))(?P<mark>[.):])?(?:\s+(?P<rest>\S.*))?",
    re.DOTALL,
)
_HEDGE = re.compile(r"(?:or|and|,|/|&)\s*\(?([A-H])\)?\b")
_PER = re.compile(  # what stands below the slash of a unit
    r"(?:h|hrs?|hour|s|sec|second|min|minute|day|week|month|year|kg|g|l|ml|m|cm)", re.IGNORECASE
)
_ONE_MEANING = frozenset({"n/a", "w/o", "and/or", "a/c", "c/o", "b/w"})


def judge_by_rules(
    answer: str | None,
    gold: str,
    source: str,
    open_sources: frozenset[str] = OPEN_SOURCES,
    has_alternatives: bool = True,
) -> Verdict:
    """Judge an answer (or a text that holds `<answer>` blocks: the last counts) against gold.

    A gold answer may list alternatives, "B/C" (see `alternatives`), unless it is known to have
    none. Source: the answer rules of
    the published VLM-R3 code, without its defects (a fraction taken for alternatives, "no" found
    inside "know", lower-cased LaTeX).

    Errors: ValueError if the gold answer is empty.

    >>> judge_by_rules("1", "1/2", "").value, judge_by_rules("C", "B/C", "").value
    ('wrong', 'right')
    """
    # A gold answer that is nothing but wrappers, such as "$$", stands for itself.
    answer, gold = _content(answer), _content(gold) or gold.strip()
    if not gold:
        raise ValueError(f"the gold answer of a question from {source!r} is empty; give it one")
    if not answer:
        return Verdict.WRONG
    if _same_words(answer, gold):
        return Verdict.RIGHT
    golds = (alternatives(gold, source) if has_alternatives else ()) or (gold,)
    verdicts = {_compare(answer, one, source, open_sources) for one in golds}
    for verdict in (Verdict.RIGHT, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.WRONG


def alternatives(gold: str, source: str = "") -> tuple[str, ...]:
    """The alternatives that `/` separates; none where it is a fraction, a date, a unit or a path.

    >>> alternatives("B/C"), alternatives("7 up/7up"), alternatives("1/2"), alternatives("km/h")
    (('B', 'C'), ('7 up', '7up'), (), ())
    """
    parts = [part.strip() for part in gold.split("/")]
    if len(parts) < 2 or not all(parts) or gold.lower() in _ONE_MEANING or "\\" in gold:
        return ()
    if "://" in gold or re.search(r"\w\.\w+/", gold):
        return ()
    if all(re.fullmatch(r"\(?[A-H]\)?", part) for part in parts):
        return tuple(parts)
    if any(left[-1].isdigit() and right[0].isdigit() for left, right in itertools.pairwise(parts)):
        return ()
    if any(_PER.fullmatch(part) for part in parts[1:]):
        return ()
    return tuple(parts) if all(_is_wording(part, source) for part in parts) else ()


def _is_wording(part: str, source: str) -> bool:
    """Whether one side of a `/` is words, or a number beside number words ("two/2")."""
    if source in MATH_SOURCES:
        return re.fullmatch(r"[A-Za-z]{3,}(?: [A-Za-z]+)*", part) is not None
    return re.search(r"[^\W\d_]{2}", part) is not None or quantities.parse_number(part) is not None


def _content(text: str | None) -> str:
    """The answer inside the last `<answer>` block, or the whole text, without its wrappers."""
    if text is None:
        return ""
    inside = normalise.last_answer(text)
    return normalise.unwrap(text if inside is None else inside)


def _compare(answer: str, gold: str, source: str, open_sources: frozenset[str]) -> Verdict:
    """Judge an answer against one alternative: the first rule that knows decides."""
    if answer == gold or _same_words(answer, gold):
        return Verdict.RIGHT
    for rule in (_compare_options, _compare_yes_no):
        verdict = rule(answer, gold)
        if verdict is not None:
            return verdict
    if source in MATH_SOURCES:
        same = expressions.same_value(answer, gold)
        if same is not None:
            return Verdict.RIGHT if same else Verdict.WRONG
    verdict = _compare_numbers(answer, gold)
    return _compare_text(answer, gold, source, open_sources) if verdict is None else verdict


def _same_words(answer: str, gold: str) -> bool:
    """Equal after normalisation, spaces inside words aside ("7 up", "7up")."""
    first, second = normalise.words(answer), normalise.words(gold)
    if first == second:
        return bool(first)
    joined = "".join(first), "".join(second)
    digits = [re.findall(r"\d+", " ".join(words)) for words in (first, second)]
    return joined[0] == joined[1] and digits[0] == digits[1] and not joined[0].isdigit()


def _option(text: str) -> tuple[str, str] | None:
    """Letter and wording of an option: "B", "(B)", "B. red", "(B) red", "The answer is B"."""
    if re.fullmatch(r"\(?[a-h]\)?", text):
        return text.strip("()").upper(), ""
    match = _OPTION.fullmatch(text) or _OPTION.fullmatch(text[:1].lower() + text[1:])
    if not match:
        return None
    rest = match["rest"] or ""
    if rest and not (match["p"] or match["mark"]):
        return None  # "A cat" is an article and a noun
    return match["p"] or match["b"], normalise.unwrap(rest)


def _compare_options(answer: str, gold: str) -> Verdict | None:
    """Judge where an option letter is involved; None where none is."""
    given, wanted = _option(answer), _option(gold)
    if wanted is None:
        if given is None:
            return None
        letter, rest = given
        return Verdict.RIGHT if rest and _same_words(rest, gold) else Verdict.UNKNOWN
    letter, wording = wanted
    if given is None:
        if wording and _same_words(answer, wording):
            return Verdict.RIGHT
        return None if wording else Verdict.UNKNOWN
    if _HEDGE.match(given[1]):
        return Verdict.WRONG  # "A or B" commits to nothing
    if given[0] != letter:
        return Verdict.WRONG
    if given[1] and wording and not _same_words(given[1], wording):
        return Verdict.UNKNOWN
    return Verdict.RIGHT


def _compare_yes_no(answer: str, gold: str) -> Verdict | None:
    """Judge against a gold yes or no; only whole words count, and only where they open it."""
    wanted = gold.lower()
    if wanted not in ("yes", "no"):
        return None
    said = {word for word in normalise.words(answer) if word in ("yes", "no")}
    opening = re.match(r"(yes|no)(?=$|[,.;:!])", answer.lower())
    if opening is None or len(said) > 1:
        return Verdict.UNKNOWN
    return Verdict.RIGHT if opening[1] == wanted else Verdict.WRONG


def _compare_numbers(answer: str, gold: str) -> Verdict | None:
    """Judge numbers, with units where both have one; None where gold or answer is no number."""
    given, wanted = quantities.parse_quantity(answer), quantities.parse_quantity(gold)
    if given is None or wanted is None:
        short = len(normalise.words(answer)) <= 2
        plain = wanted is not None and not wanted.unit and not re.search(r"\d", answer)
        return Verdict.WRONG if plain and short else None
    if quantities.has_leading_zero(answer) or quantities.has_leading_zero(gold):
        return Verdict.WRONG if given.value != wanted.value else Verdict.UNKNOWN
    if given.unit and wanted.unit and given.unit.lower() != wanted.unit.lower():
        return Verdict.UNKNOWN  # 0.12 m and 12 cm: the rules do not convert
    return Verdict.RIGHT if given.value == wanted.value else Verdict.WRONG


def _compare_text(answer: str, gold: str, source: str, open_sources: frozenset[str]) -> Verdict:
    """Judge words that are not the same: a code is wrong, a sentence is for the judge."""
    given, wanted = normalise.words(answer), normalise.words(gold)
    if max(len(given), len(wanted)) > MAX_SHORT_WORDS or source in MATH_SOURCES:
        return Verdict.UNKNOWN
    digits = [re.findall(r"\d+", " ".join(side)) for side in (given, wanted)]
    code = not re.search(r"[^\W\d_]", gold) or len(given) == len(wanted) == 1
    if digits[0] != digits[1] and code:
        return Verdict.WRONG  # part of a date, a time or a plate is not the whole
    if "/" in gold and set(given) < set(wanted):
        return Verdict.WRONG  # half of a unit or of a fraction
    if set(given) > set(wanted) or set(wanted) > set(given):
        return Verdict.UNKNOWN  # "red car" for "red": more or less than was asked
    return Verdict.UNKNOWN if source in open_sources else Verdict.WRONG
