"""The look-again benchmark: held-out questions, counted by number of looks and by family.

The result of one model and one way of sampling is a plain mapping, as it stands in results.json:

    {"one_look": 0.93, "two_look": 0.61, "all": 0.85,
     "intervals": {"one_look": [0.90, 0.95], ...}, "families": {"chart": 0.88, ...}, "count": 640}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from r3jax.evaluate import accuracy
from r3jax.records import Episode, Question, Verdict
from r3jax.reward import answers

LOOKS = {"one": "one_look", "two": "two_look"}


def is_right(question: Question, episode: Episode) -> bool:
    """Whether the episode's answer is the question's: rules alone, as the answers are numbers."""
    return answers.judge_by_rules(episode.answer, question.answer, question.source) is Verdict.RIGHT


def summarise(questions: Sequence[Question], right: Sequence[bool]) -> dict[str, Any]:
    """Counts right answers; `right` is one entry a question."""
    looks = accuracy.by(lambda i: LOOKS[questions[i].tags["looks"]], right)
    families = accuracy.by(lambda i: questions[i].source, right)
    shares = {**looks, "all": accuracy.share(right)}
    return {
        **{name: s.value for name, s in shares.items()},
        "intervals": {name: list(s.interval) for name, s in shares.items()},
        "families": {name: s.value for name, s in families.items()},
        "count": len(right),
    }


def chance(questions: Sequence[Question]) -> dict[str, Any]:
    """What a reader gets who looks at a random place of the image instead of the one asked for.

    `tags["places"]` is how many places an image has. Two looks: an ordered pair of places for
    sums and comparisons.
    """
    return _expected(questions, lambda q: 1 / _pairs(int(q.tags["places"]), q.tags["looks"]))


def _pairs(places: int, looks: str) -> float:
    return places if looks == "one" else places * (places - 1) / 2


def _expected(questions: Sequence[Question], probability) -> dict[str, Any]:
    values = [probability(q) for q in questions]

    def mean(keep) -> float:
        kept = [v for v, q in zip(values, questions) if keep(q)]
        return sum(kept) / len(kept) if kept else 0.0

    found: Mapping[str, float] = {
        name: mean(lambda q, tag=tag: q.tags["looks"] == tag) for tag, name in LOOKS.items()
    }
    return {**found, "all": mean(lambda q: True), "count": len(questions)}
