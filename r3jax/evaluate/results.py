"""From scored replies to what is reported of a benchmark: the numbers of papers, their uncertainty,
and how much of them a judge decided."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r3jax.evaluate import accuracy, benchmarks, choices, maths, yes_no
from r3jax.evaluate.items import Asked
from r3jax.evaluate.prompts import Asking

Line = Mapping[str, Any]
"""A scored reply: `score` 0 to 1; `judged`, True where a judge decided it, None where it was asked
and did not; and what the reply was like."""

REFUSED = "refused"  # why a reply is empty: who was asked would not answer
_BY_METRIC = ("DocVQA", "InfographicVQA", "TextVQA", "GQA")
"""Benchmarks whose score is a measure of text, which no judge may better."""


def may_be_judged(benchmark: str, asking: Asking, answer: str, score: float) -> bool:
    """Whether a judge may decide what the rules found wrong: an answer in other words, which is no
    number where one is wanted, names no option and says neither yes nor no."""
    if score > 0 or not answer or benchmark in _BY_METRIC:
        return False
    if asking.item.asked is Asked.OPTION:
        return choices.chosen(answer, asking.sample["choices"]) is None
    if asking.item.asked is Asked.YES_NO:
        return yes_no.said(answer) is None
    return not (maths.is_number(answer) and maths.is_number(asking.gold))


def summarise(
    benchmark: str, askings: Sequence[Asking], repeats: int, lines: Sequence[Line]
) -> dict[str, Any]:
    """What is reported of a benchmark, from a line for each asking.

    `scores` are the numbers of `benchmarks.aggregate`, in percent, the mean of those of each time
    that all was asked; `mean` is that over questions with its 95 % `interval` over them, in which
    those that differ in the places of their options count as one. A question that was asked in
    several orders of its options is right if it was each time.

    Raises: ValueError where a field is missing that the benchmark groups by.
    """
    size = len(askings) // repeats
    times = [slice(size * number, size * (number + 1)) for number in range(repeats)]
    tables = [_rows(askings[time], lines[time]) for time in times]
    found = [benchmarks.aggregate(benchmark, rows) for rows in tables]
    means = [sum(row["score"] for row in rows) / repeats for rows in zip(*tables, strict=True)]
    stops = [line["stop"] for line in lines]
    count = max(1, len(lines))
    return {
        "scores": {name: sum(one[name] for one in found) / repeats for name in found[0]},
        "mean": 100 * sum(means) / max(1, len(means)),
        "interval": [100 * end for end in _interval(_by_question(askings[:size], means))],
        "count": len(means),
        "asked": len(lines),
        "judged": sum(line["judged"] is True for line in lines) / count,
        "judge_failed": sum(line["judged"] is None for line in lines) / count,
        "refused": sum(line["stop"] == REFUSED for line in lines) / count,
        "unanswered": sum(not line["answer"] for line in lines) / count,
        "looks_per_answer": sum(len(line["looks"]) for line in lines) / count,
        "stops": {stop: stops.count(stop) / count for stop in sorted(set(stops))},
    }


def check_fields(benchmark: str, askings: Sequence[Asking]) -> None:
    """Raises ValueError where the numbers of a benchmark could not be made of these questions."""
    lines = [{"score": 0.0}] * len(askings)
    benchmarks.aggregate(benchmark, _rows(askings, lines))


def _rows(askings: Sequence[Asking], lines: Sequence[Line]) -> list[dict[str, Any]]:
    """A row for each question, of those asked once or in several orders."""
    scores: dict[str, list[float]] = {}
    samples = {}
    for asking, line in zip(askings, lines, strict=True):
        scores.setdefault(asking.item.id, []).append(line["score"])
        samples[asking.item.id] = asking.item.sample
    return [{**samples[id], "score": min(found)} for id, found in scores.items()]


def _by_question(askings: Sequence[Asking], means: Sequence[float]) -> list[float]:
    """The means of questions; of those that are one with other places of options, one mean."""
    together: dict[Any, list[float]] = {}
    items = {asking.item.id: asking.item for asking in askings}
    for item, mean in zip(items.values(), means, strict=True):
        is_rotated = "cycle_category" in item.sample
        right = item.choices[item.sample["answer"]] if is_rotated else None
        key = (item.text, right, *sorted(item.choices)) if is_rotated else item.id
        together.setdefault(key, []).append(mean)
    return [sum(found) / len(found) for found in together.values()]


def _interval(means: Sequence[float]) -> tuple[float, float]:
    """By the spread of the means of questions; Wilson's, where all are right or wrong."""
    mean, count = sum(means) / max(1, len(means)), len(means)
    variance = sum((one - mean) ** 2 for one in means) / max(1, count - 1)
    if set(means) <= {0.0, 1.0} or not variance:
        return accuracy.Share(mean * count, count).interval
    half = accuracy.Z95 * math.sqrt(variance / count)
    return max(0.0, mean - half), min(1.0, mean + half)
