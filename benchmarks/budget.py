"""Measuring one side on a device within a time: parts, lines of a table, what was left out."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax

from benchmarks.ours.device import Work
from benchmarks.timing import Timing

HEAD = (
    "| work | done | ms: median (min-max) | speed | of the device's peak |\n|---|---|---|---|---|"
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One work: what was `done`, the seconds it took, its `amount` of `unit`, and which `share` of
    the device's `peak` that is (None: none is asked for)."""

    work: str
    done: str
    timing: Timing
    amount: int
    unit: str
    share: float | None = None
    peak: str = "FLOP/s"

    def markdown(self) -> str:
        """The line of the table."""
        low, middle, high = (
            f"{1000 * s:,.2f}"
            for s in (self.timing.seconds[0], self.timing.median, self.timing.seconds[-1])
        )
        speed = f"{self.amount / self.timing.median:,.0f} {self.unit}/s"
        share = "" if self.share is None else f"{self.share:.1%} of {self.peak}"
        return f"| {self.work} | {self.done} | {middle} ({low}-{high}) | {speed} | {share} |"


def markdown(lines: Sequence[Line]) -> str:
    """The table of lines."""
    return "\n".join([HEAD, *(line.markdown() for line in lines)])


def measure(work: Work, repetitions: int) -> Timing:
    """The seconds of a work, from ready to ready; a first call, which compiles, does not count."""
    seconds = []
    for _ in range(1 + repetitions):
        ready = jax.block_until_ready(work.prepare())
        began = time.perf_counter()
        jax.block_until_ready(work.call(ready))
        seconds.append(time.perf_counter() - began)
    return Timing(tuple(sorted(seconds[1:])))


@dataclasses.dataclass
class Budget:
    """`limit_s` seconds from now for parts that follow each other; `left_out`: name and reason."""

    limit_s: float
    began: float = dataclasses.field(default_factory=time.monotonic)
    left_out: list[str] = dataclasses.field(default_factory=list)

    def run(self, name: str, needed_s: float, part: Callable[[], list[Line]]) -> list[Line]:
        """The lines of a part; none where it would take too long, or the device's memory ends."""
        if self.spent_s + needed_s > self.limit_s:
            self.left_out.append(f"{name} (no time)")
            return []
        try:
            return part()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            self.left_out.append(f"{name} (out of memory)")
            return []

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.began

    def __str__(self) -> str:
        left_out = f", left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{self.spent_s:.0f} s in all{left_out}"
