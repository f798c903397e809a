"""Accuracy with its uncertainty: shares of right answers by any grouping, with intervals."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

Z95 = 1.959964  # two-sided 95 %


@dataclasses.dataclass(frozen=True)
class Share:
    """`right` of `count`; parts of right ones add up."""

    right: float
    count: int

    @property
    def value(self) -> float:
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval.

        >>> [round(end, 3) for end in Share(90, 100).interval]
        [0.826, 0.945]
        """
        if not self.count:
            return 0.0, 1.0
        n, p = self.count, self.value
        centre = p + Z95**2 / (2 * n)
        spread = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        scale = 1 + Z95**2 / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def share(right: Iterable[bool]) -> Share:
    """Counts right answers."""
    right = list(right)
    return Share(sum(right), len(right))


def by(key: Callable[[int], str], right: Sequence[bool]) -> Mapping[str, Share]:
    """Shares of the groups that `key` puts the numbers of the answers into, sorted by name."""
    names = sorted({key(i) for i in range(len(right))})
    return {n: share(r for i, r in enumerate(right) if key(i) == n) for n in names}
