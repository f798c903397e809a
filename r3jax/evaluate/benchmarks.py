"""The benchmarks by name: how an answer is scored, and what is made of the scores.

    evaluate.score("V*", "The answer is (B).", {"answer": "B", "choices": ["red", "blue"]})
    evaluate.aggregate("V*", rows)

No judge is asked: an answer that rules cannot read is wrong.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r3jax.evaluate import aggregates, choices, maths, mmmu, option_lists, replies, vqa, yes_no

Sample = Mapping[str, Any]
MOST_OPTIONS = 8  # letters that may be meant where the options are not given


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """How answers to its questions are scored, 0 to 1, and what rows of scores come to."""

    name: str
    score: Callable[[str, Sample], float]
    aggregate: Callable[[Sequence[aggregates.Row]], dict[str, float]]


def score(benchmark: str, prediction: str, sample: Sample) -> float:
    """How right an answer is, from 0 to 1.

    `sample` has `answer`, or `answers`, and what the benchmark has of `choices`, `question`,
    `question_type`, `answer_type`, `precision` and `unit`. Where options, yes and no, or numbers
    are asked for, `prediction` may be a whole reply; text is compared to the letter, and is to be
    what `replies.answer_of` takes out of one.

    Fields that are None or NaN, as tables have them, count as missing.

    Raises: ValueError for a benchmark that is not known, a prediction that is no text, and a sample
    without its answer, or with one that is none of its options, or neither yes nor no where one of
    them is asked for.
    """
    known = find(benchmark)
    if not isinstance(prediction, str):
        raise ValueError(f"{known.name}: prediction {prediction!r}: expected text")
    return known.score(prediction, {k: v for k, v in sample.items() if not _is_missing(v)})


def aggregate(benchmark: str, rows: Sequence[aggregates.Row]) -> dict[str, float]:
    """The numbers that are reported of a benchmark, in percent, from rows with a `score` and the
    fields that it groups by.

    Raises: ValueError for a benchmark that is not known, and a row without a score, or without what
    the benchmark groups by.
    """
    try:
        return find(benchmark).aggregate(rows)
    except KeyError as error:
        raise ValueError(
            f"{benchmark}: a row has no {error}, by which scores are grouped"
        ) from error


def find(name: str) -> Benchmark:
    """The benchmark of a name, however it is written. Raises: ValueError where there is none."""
    key = _key(name)
    if (known := TABLE.get(key) or TABLE.get(_ENDINGS.sub("", key))) is not None:
        return known
    names = ", ".join(dict.fromkeys(one.name for one in TABLE.values()))
    raise ValueError(f"benchmark {name!r}: expected one of {names}")


def is_whole(name: str) -> bool:
    """Whether a name is that of a benchmark, and not of one of its splits or sizes."""
    return _key(name) in TABLE


# Of names of the same questions, or of some of them: a split, a size, a language, a kind.
_ENDINGS = re.compile(
    r"(?:bench|4k|8k|lite|cn|mini|testmini|dev|val|test|testdev|balanced|full|img|zeroshot"
    r"|open|multiplechoice)+$"
)


def _key(name: str) -> str:
    first = re.split(r"[(/]", name)[0]  # "HR-Bench 4K/8K", "ScienceQA (IMG)"
    return re.sub(r"[^a-z0-9]", "", first.lower().replace("*", "star"))


def _option(prediction: str, sample: Sample) -> float:
    options = _choices(sample) or option_lists.options_in(str(sample.get("question") or ""))
    options = option_lists.bare(options) or [""] * MOST_OPTIONS
    answer = _answer(sample)
    wanted = choices.wanted(answer, options)
    if wanted is None and not any(options):
        raise ValueError(f"answer {answer!r} is no letter, and the sample has no choices")
    if wanted is None:
        raise ValueError(f"answer {answer!r} is none of the options {options}")
    said = yes_no.said(prediction)
    words = [one.strip().lower() for one in options]
    if said is not None and sorted(words) == ["no", "yes"]:
        return float(words[wanted] == ("yes" if said else "no"))
    return float(choices.chosen(prediction, options) == wanted)


def _choices(sample: Sample) -> list[str]:
    found = sample.get("choices", ())
    if isinstance(found, str) or not _is_many(found):
        raise ValueError(f"choices {found!r}: expected a list of texts")
    return ["" if _is_missing(one) else str(one) for one in found]


def _yes_no(prediction: str, sample: Sample) -> float:
    return float(yes_no.said(prediction) is yes_no.is_yes(_answer(sample)))


def _mmmu(prediction: str, sample: Sample) -> float:
    kind = sample.get("question_type") or ("multiple-choice" if _choices(sample) else "open")
    if kind != "open":
        return _option(prediction, sample)
    return float(mmmu.is_right(replies.answer_of(prediction), _answers(sample)))


def _mathvista(prediction: str, sample: Sample) -> float:
    kind = "multi_choice" if _choices(sample) else "free_form"
    return float(
        maths.is_right_vista(
            prediction,
            _answer(sample),
            sample.get("question_type") or kind,
            sample.get("answer_type") or "text",
            _choices(sample),
            sample.get("precision"),
            str(sample.get("unit", "")),
        )
    )


def _mathvision(prediction: str, sample: Sample) -> float:
    return float(maths.is_right_vision(prediction, _answer(sample), _choices(sample)))


def _mmk12(prediction: str, sample: Sample) -> float:
    return float(maths.is_right_by_rules(prediction, str(_answer(sample)), "MMK12"))


def _answer(sample: Sample) -> Any:
    return sample["answer"] if "answer" in sample else _answers(sample)[0]


def _answers(sample: Sample) -> list[str]:
    found = sample.get("answers", sample.get("answer", ()))
    found = [found] if isinstance(found, str) or not _is_many(found) else found
    found = [str(one) for one in found if not _is_missing(one)]
    if not found:
        raise ValueError(f"sample {dict(sample)}: expected an answer, or answers")
    return found


def _is_many(value: Any) -> bool:
    return hasattr(value, "__iter__")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


TABLE = {
    _key(one.name): one
    for one in (
        Benchmark("MathVista", _mathvista, aggregates.by("task")),
        Benchmark("MathVision", _mathvision, aggregates.by("subject")),
        Benchmark("ScienceQA", _option, aggregates.by("subject")),
        Benchmark("HallusionBench", _yes_no, aggregates.hallusion),
        Benchmark("DocVQA", lambda p, s: vqa.anls(p, _answers(s)), aggregates.overall),
        Benchmark("InfographicVQA", lambda p, s: vqa.anls(p, _answers(s)), aggregates.overall),
        Benchmark("TextVQA", lambda p, s: vqa.soft_accuracy(p, _answers(s)), aggregates.overall),
        Benchmark("GQA", lambda p, s: vqa.exact_match(p, str(_answer(s))), aggregates.overall),
        Benchmark("VSR", _yes_no, aggregates.by("relation")),
        Benchmark("MMMU", _mmmu, aggregates.by("subdomain", "subfield")),
        Benchmark("MMStar", _option, aggregates.mmstar),
        Benchmark("MME-RealWorld", _option, aggregates.mme_realworld),
        Benchmark("V*", _option, aggregates.vstar),
        Benchmark("HR-Bench", _option, aggregates.hrbench),
        Benchmark("MMVP", _option, aggregates.mmvp),
        Benchmark("CV-Bench", _option, aggregates.cvbench),
        Benchmark("MMK12", _mmk12, aggregates.by("subject")),
    )
}
TABLE |= {
    "infovqa": TABLE["infographicvqa"],
    "infographicsvqa": TABLE["infographicvqa"],
    "vstarbench": TABLE["vstar"],
    "hr": TABLE["hrbench"],
    "cv": TABLE["cvbench"],
    "hallusion": TABLE["hallusionbench"],
}
