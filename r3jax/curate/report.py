"""What each stage of making traces let through and removed, and what it cost."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from r3jax.curate.samples import Usage, Verdict
from r3jax.curate.stages import Count

WHAT: Mapping[str, str] = {
    "questions": "rows of the source with an image that can be used",
    "distinct": "questions that neither another one nor a benchmark repeats",
    "traces": "the teacher looked and answered, every box is one",
    "answers": "the answer is right",
    "regions": "something is recognised in every crop",
    "chains": "the steps hold together and none is idle",
}
"""The stages in order, and what leaves each."""


@dataclasses.dataclass(frozen=True)
class StageReport:
    """A stage in numbers; `dollars` is what was told of its tokens at the prices given, `failure`
    what was last said of a sample that is undecided."""

    name: str
    what: str
    entered: int
    kept: int
    dropped: int
    undecided: int
    reasons: Mapping[str, int]
    usage: Usage
    dollars: float
    failure: str

    @classmethod
    def of(cls, count: Count, price: tuple[float, float]) -> "StageReport":
        """That of what a stage has counted."""
        return cls(
            name=count.name,
            what=WHAT[count.name],
            entered=count.entered,
            kept=count.verdicts[Verdict.KEPT],
            dropped=count.verdicts[Verdict.DROPPED],
            undecided=count.verdicts[Verdict.UNDECIDED],
            reasons=dict(sorted(count.reasons.items(), key=lambda one: (-one[1], one[0]))),
            usage=count.usage,
            dollars=dollars(count.usage, price),
            failure=count.failure,
        )

    def lines(self) -> list[str]:
        """What people read on a terminal, below the head of `Report.lines`."""
        told = [
            f"{self.name:12}{self.entered:>9,}{self.kept:>9,}{self.dropped:>9,}"
            f"{self.undecided:>11,}{self.usage.requests:>10,}{self.dollars:>9.2f}"
        ]
        told += [f"  {reason}: {count:,}" for reason, count in self.reasons.items()]
        if self.failure:
            told.append(f"    {self.failure}")
        if self.usage.untold:
            told.append(f"  {self.usage.untold:,} replies came without their number of tokens")
        return told


@dataclasses.dataclass(frozen=True)
class Report:
    """A data set in numbers; `not_run` are filters for which there was nobody to ask."""

    fingerprint: str
    traces: int
    stages: tuple[StageReport, ...]
    not_run: tuple[str, ...]

    @property
    def undecided(self) -> int:
        """Samples about which an endpoint has said nothing yet."""
        return sum(stage.undecided for stage in self.stages)

    @property
    def dollars(self) -> float:
        """What all stages cost."""
        return sum(stage.dollars for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return dataclasses.asdict(self) | {"undecided": self.undecided, "dollars": self.dollars}

    def lines(self) -> list[str]:
        """What people read on a terminal."""
        told = [
            f"{'':12}{'in':>9}{'kept':>9}{'dropped':>9}{'undecided':>11}{'requests':>10}{'$':>9}"
        ]
        for one in self.stages:
            told += one.lines()
        return told + [f"{name}: not run, nobody to ask" for name in self.not_run]


def dollars(usage: Usage, price: tuple[float, float]) -> float:
    """The price of what was told, in dollars; `price` is of a million tokens each.

    >>> dollars(Usage(1, 2_000_000, 500_000), (0.5, 2.0))
    2.0
    """
    return (usage.prompt_tokens * price[0] + usage.completion_tokens * price[1]) / 1e6
