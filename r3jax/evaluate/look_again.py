"""The look-again benchmark: held-out questions, counted by number of looks and by family.

The result of one model and one way of sampling is a plain mapping, as it stands in results.json:

    {"one_look": 0.93, "two_look": 0.61, "all": 0.85,
     "intervals": {"one_look": [0.90, 0.95], ...}, "families": {"chart": 0.88, ...},
     "counts": {"one_look": 480, ...}, "count": 640}
"""

from collections.abc import Sequence
from typing import Any

from r3jax.data.vlir import RlRow
from r3jax.evaluate import accuracy
from r3jax.records import Question, Verdict
from r3jax.reward import answers

LOOKS = {"one": "one_look", "two": "two_look"}


def is_right(asked: Question | RlRow, answer: str | None) -> bool:
    """Whether an answer is the question's: rules alone, as the answers are numbers."""
    return answers.judge_by_rules(answer, asked.answer, asked.source) is Verdict.RIGHT


def summarise(questions: Sequence[Question], right: Sequence[bool]) -> dict[str, Any]:
    """Counts right answers; `right` is one entry a question.

    Questions without `tags["looks"]` count under "all" and their family only.
    """
    tagged = [(q.tags["looks"], r) for q, r in zip(questions, right) if "looks" in q.tags]
    looks = accuracy.by(lambda i: LOOKS[tagged[i][0]], [r for _, r in tagged])
    families = accuracy.by(lambda i: questions[i].source, right)
    shares = {**looks, "all": accuracy.share(right)}
    return {
        **{name: s.value for name, s in shares.items()},
        "intervals": {name: list(s.interval) for name, s in shares.items()},
        "families": {name: s.value for name, s in families.items()},
        "counts": {name: s.count for name, s in shares.items()},
        "count": len(right),
    }


def chance(questions: Sequence[Question]) -> dict[str, Any]:
    """What a reader gets who looks at random places of the image instead of those asked for.

    `tags["places"]` is how many places an image has. Two looks: a random unordered pair of them,
    whose numbers are added or compared as the question says (`tags["kind"]`). The numbers are taken
    to be distinct and in random order; other pairs with the same sum by accident are left out.
    """
    return _expected(questions, _chance)


def _chance(question: Question) -> float:
    """The probability that random places give the right answer."""
    places = int(question.tags["places"])
    if question.tags["looks"] == "one":
        return 1 / places
    pairs, kind = places * (places - 1) / 2, question.tags["kind"]
    if kind == "add":
        return 1 / pairs
    if kind == "compare":
        # The number of rank r is the larger of r - 1 pairs: sum of ((r - 1) / pairs)**2 over r.
        return (2 * places - 1) / (3 * pairs)
    raise ValueError(
        f"question {question.id}: expected tags.kind to be add or compare, as it needs two looks, "
        f"found {kind!r}"
    )


def _expected(questions: Sequence[Question], probability) -> dict[str, Any]:
    """The mean of a probability by number of looks and in all, with how many questions each has."""
    parts = {"all": list(questions)}
    parts |= {name: [q for q in questions if q.tags["looks"] == tag] for tag, name in LOOKS.items()}
    return {
        **{n: sum(map(probability, part)) / max(1, len(part)) for n, part in parts.items()},
        "counts": {name: len(part) for name, part in parts.items()},
        "count": len(questions),
    }
