"""What a benchmark found, as a table for people and as one JSON object for programs."""

import dataclasses
import json
from collections.abc import Mapping

from benchmarks.timing import Timing

OURS = "r3jax"


@dataclasses.dataclass(frozen=True)
class Row:
    """One work on several sides; `amount` of `unit` is done in it (tokens, patches)."""

    work: str
    timings: Mapping[str, Timing]
    amount: float
    unit: str

    def ratio(self, peer: str) -> float:
        """How many times as long as r3jax the peer takes, by medians."""
        return self.timings[peer].median / self.timings[OURS].median


@dataclasses.dataclass(frozen=True)
class Result:
    """A benchmark's rows, the ratios that it was run to find, and the versions of what ran."""

    title: str
    rows: tuple[Row, ...]
    ratios: Mapping[str, float]
    about: Mapping[str, str]

    def markdown(self) -> str:
        """A line for each work and side: seconds, speed, and how r3jax compares."""
        lines = [
            f"### {self.title}",
            "",
            "| work | side | seconds: median (min-max) | speed | r3jax is |",
            "|---|---|---|---|---|",
        ]
        for row in self.rows:
            for name, timing in row.timings.items():
                speed = f"{row.amount / timing.median:,.0f} {row.unit}/s"
                compared = "" if name == OURS else f"{row.ratio(name):.2f}x as fast"
                lines.append(f"| {row.work} | {name} | {timing} | {speed} | {compared} |")
        if self.ratios:
            lines += ["", ", ".join(f"{k} {v:.2f}" for k, v in self.ratios.items()) + "."]
        lines += ["", ", ".join(f"{k} {v}" for k, v in sorted(self.about.items())) + "."]
        dropped = sum(t.dropped for row in self.rows for t in row.timings.values())
        if dropped:
            lines[-1] += f" {dropped} repetitions were dropped: the system interrupted them."
        return "\n".join(lines)

    def json(self) -> str:
        """One line: the ratios, what ran, and the seconds of every row and side."""
        seconds = {row.work: {n: t.summary() for n, t in row.timings.items()} for row in self.rows}
        return json.dumps({**self.ratios, "about": dict(self.about), "seconds": seconds})
