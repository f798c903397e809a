"""Timing two sides fairly on a machine that is not quiet.

The sides take turns, so that a slow minute hits both. A repetition that the system interrupted
again and again is dropped and counted: it says more about the machine than about the side.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

NOISY = 150  # involuntary context switches a second from which on a repetition is dropped
TRIES = 3  # a side may repeat this many times as often as asked for


class Repetition(NamedTuple):
    """One measured call: seconds, and how often the system took the processor away."""

    seconds: float
    switches: int

    @property
    def is_clean(self) -> bool:
        return self.switches < NOISY * self.seconds


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of the clean repetitions, fastest first, and how many were dropped.

    Where fewer than wanted were clean, all count, and `noisy` says so.
    """

    seconds: tuple[float, ...]
    dropped: int = 0
    noisy: bool = False

    @classmethod
    def of(cls, repetitions: Sequence[Repetition], wanted: int) -> "Timing":
        clean = [one for one in repetitions if one.is_clean]
        noisy = len(clean) < wanted
        kept = repetitions if noisy else clean
        dropped = len(repetitions) - len(kept)
        return cls(tuple(sorted(one.seconds for one in kept)), dropped, noisy)

    def times(self, count: int) -> "Timing":
        """The time of `count` such calls."""
        return dataclasses.replace(self, seconds=tuple(count * one for one in self.seconds))

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def summary(self) -> dict[str, float | int | bool]:
        """The numbers by name."""
        low, high = self.seconds[0], self.seconds[-1]
        found = {"min": low, "median": self.median, "max": high, "repetitions": len(self.seconds)}
        return {**found, "dropped": self.dropped, "noisy": self.noisy}

    def __str__(self) -> str:
        low, high = self.seconds[0], self.seconds[-1]
        return f"{self.median:.3f} ({low:.3f}-{high:.3f})" + (" noisy" if self.noisy else "")


def alternate(
    sides: Mapping[str, Callable[[], Repetition]], repetitions: int = 5
) -> dict[str, Timing]:
    """Calls each side in turn until all have `repetitions` clean ones, or enough was tried.

    The first call of each side warms it up and does not count.
    """
    for call in sides.values():
        call()
    found: dict[str, list[Repetition]] = {name: [] for name in sides}
    for _ in range(TRIES * repetitions):
        for name, call in sides.items():
            found[name].append(call())
        if all(sum(one.is_clean for one in f) >= repetitions for f in found.values()):
            break
    return {name: Timing.of(one, repetitions) for name, one in found.items()}
