"""The reward terms of VLM-R3, in the two published versions.

| term     | paper                                     | code                                      |
|----------|-------------------------------------------|-------------------------------------------|
| accuracy | 1 if right                                | 1 if right                                |
| format   | 1: closed thought, then the answer at end | 0.5: the answer at the end                |
| region   | 0.5 a look, 0.5 at most, only if right    | 0.5 if every box was a look, only if right|
| length   | 0.001 a character of reasoning, to 0.25   | 0.01 a character of the shortest text     |
|          |                                           | between boxes, to 0.10                    |

Departures, each a defect of the published code put right: a look counts only if it was executed
(outcome OK), not if its text merely parses; only an episode that stopped by answering earns the
format term, so truncated text never does.

Source: VLM-R3 paper (rewards) and published VLM-R3 code.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal

from r3jax.records import Episode, LookOutcome, Question, Stop, Verdict
from r3jax.reward import text as texts

Term = Callable[[Question, Episode, Verdict], float]
ExtraTerm = Callable[[Question, Episode], float]


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """Which rewards are given.

    `preset` picks the version of the terms; the `*_weight`s multiply them (0 leaves a term out).
    `unknown_without_judge` says what becomes of answers that the rules cannot judge when no judge
    is given: "leave" keeps them UNKNOWN, out of baseline and loss; "wrong" counts them as wrong;
    "preset" is "leave" for paper and "wrong" for code, whose fallback is equality of strings.
    `mask_over_turn` and `mask_truncated` take such episodes out of baseline and loss.
    `open_vocabulary` names data sets in which a short answer in other words may still be right.

    Errors: ValueError for an unknown preset or choice, a weight that is negative or not finite.
    """

    preset: Literal["paper", "code"] = "paper"
    accuracy_weight: float = 1.0
    format_weight: float = 1.0
    region_weight: float = 1.0
    length_weight: float = 1.0
    unknown_without_judge: Literal["preset", "leave", "wrong"] = "preset"
    mask_over_turn: bool = True
    mask_truncated: bool = True
    open_vocabulary: tuple[str, ...] = (
        "docvqa",
        "gqa",
        "infographicsvqa",
        "scienceqa",
        "textvqa",
        "vsr",
    )

    def __post_init__(self):
        if self.preset not in PRESETS:
            raise ValueError(f"reward preset {self.preset!r} is unknown; use one of {set(PRESETS)}")
        if self.unknown_without_judge not in ("preset", "leave", "wrong"):
            raise ValueError(
                f"unknown_without_judge is {self.unknown_without_judge!r}; "
                "use 'preset', 'leave' or 'wrong'"
            )
        for name, weight in self.weights().items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name}_weight is {weight}, expected a finite number >= 0")

    def weights(self) -> dict[str, float]:
        """The weight of each built-in term by its name."""
        return {
            "accuracy": self.accuracy_weight,
            "format": self.format_weight,
            "region": self.region_weight,
            "length": self.length_weight,
        }

    def unknown_is_wrong(self) -> bool:
        """Whether an answer that nobody could judge counts as wrong when there is no judge."""
        if self.unknown_without_judge == "preset":
            return self.preset == "code"
        return self.unknown_without_judge == "wrong"


def accuracy(question: Question, episode: Episode, verdict: Verdict) -> float:
    """1 for a right answer."""
    return float(verdict is Verdict.RIGHT)


def format_paper(question: Question, episode: Episode, verdict: Verdict) -> float:
    """1 if the episode closes its thought and then ends with one answer of its own."""
    return float(_answered(episode) and texts.closed_thought(episode.text))


def format_code(question: Question, episode: Episode, verdict: Verdict) -> float:
    """0.5 if the episode ends with one answer of its own; `<think>` is not required."""
    return 0.5 * _answered(episode)


def region_paper(question: Question, episode: Episode, verdict: Verdict) -> float:
    """0.5 for each executed look, at most 0.5 in all, only if the answer is right."""
    if verdict is not Verdict.RIGHT:
        return 0.0
    return min(0.5, 0.5 * sum(look.outcome is LookOutcome.OK for look in episode.looks))


def region_code(question: Question, episode: Episode, verdict: Verdict) -> float:
    """0.5 if there was a look and none of them failed, only if the answer is right."""
    if verdict is not Verdict.RIGHT or not episode.looks:
        return 0.0
    return 0.5 * all(look.outcome is LookOutcome.OK for look in episode.looks)


def length_paper(question: Question, episode: Episode, verdict: Verdict) -> float:
    """0.001 for each character of reasoning (boxes and tags aside), at most 0.25."""
    return min(0.25, 0.001 * len(texts.reasoning(episode.text)))


def length_code(question: Question, episode: Episode, verdict: Verdict) -> float:
    """0.01 for each character of the shortest text between boxes, at most 0.10."""
    return min(0.10, 0.01 * min(len(part) for part in texts.segments(episode.text)))


def _answered(episode: Episode) -> bool:
    """Whether the model itself closed one answer and stopped there."""
    return episode.stop is Stop.ANSWER and texts.ends_with_answer(episode.text)


PRESETS: Mapping[str, Mapping[str, Term]] = {
    "paper": {
        "accuracy": accuracy,
        "format": format_paper,
        "region": region_paper,
        "length": length_paper,
    },
    "code": {
        "accuracy": accuracy,
        "format": format_code,
        "region": region_code,
        "length": length_code,
    },
}
