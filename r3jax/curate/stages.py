"""A stage reads samples and writes a decision about each, a line a sample, in order.

What is written is kept: after a kill a stage goes on behind its last whole line, and from the first
line that is undecided or about another sample than now comes there. So the files of a run that was
killed and continued equal those of one that was not.
"""

import collections
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from r3jax import added, lines
from r3jax.curate.samples import Decision, Sample, Usage, Verdict

EXAMPLES = 3  # that a report shows of each reason


class Placed(Protocol):
    """Anything that says where it is from."""

    where: str


Item = TypeVar("Item", bound=Placed)


@dataclasses.dataclass
class Count:
    """What a stage has decided: how many samples are kept or not, and why; examples of each reason,
    and the `failure` of the last one that is undecided.

    Samples that were not reached count as undecided.
    """

    name: str
    verdicts: collections.Counter[Verdict] = dataclasses.field(default_factory=collections.Counter)
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, list[Decision]] = dataclasses.field(default_factory=dict)
    usage: Usage = dataclasses.field(default_factory=Usage)
    failure: str = ""

    def add(self, decision: Decision) -> None:
        """Counts a decision."""
        self.verdicts[decision.verdict] += 1
        self.usage += decision.usage
        if decision.verdict is not Verdict.KEPT:
            self.reasons[decision.reason] += 1
            if decision.verdict is Verdict.UNDECIDED:
                self.failure = decision.told
            examples = self.examples.setdefault(decision.reason, [])
            if len(examples) < EXAMPLES:
                examples.append(decision)

    @property
    def entered(self) -> int:
        """How many samples came in."""
        return sum(self.verdicts.values())


def run(
    path: pathlib.Path,
    items: Iterable[Item],
    decide: Callable[[Iterator[Item]], Iterator[Decision]],
    seen: Callable[[Decision], None],
) -> int:
    """Writes the decision about every item into the file `path`; `seen` is told of each, of those
    of earlier runs as well. Returns how many items were not reached.

    `decide` gives decisions in order, and may end before all items have one.
    """
    rest, size = iter(items), 0
    for values, end in lines.read(path):
        decision = Decision.from_json(values)
        item = next(rest, None)
        if item is None:
            break
        if item.where != decision.sample.where or decision.verdict is Verdict.UNDECIDED:
            rest = itertools.chain([item], rest)
            break
        size = end
        seen(decision)
    lines.keep(path, size)
    asked = _Counted(rest)
    decided = 0
    with contextlib.closing(added.add_to(path)) as file:
        for decision in decide(asked):
            file.write(lines.line(decision.as_json()))
            decided += 1
            seen(decision)
    return asked.taken + sum(1 for _ in rest) - decided


def kept(path: pathlib.Path) -> Iterator[Sample]:
    """The samples that a stage has kept, in order."""
    for values, _ in lines.read(path):
        decision = Decision.from_json(values)
        if decision.verdict is Verdict.KEPT:
            yield decision.sample


class _Counted(Iterator[Item]):
    """Items, counted as they are taken."""

    def __init__(self, items: Iterator[Item]):
        self._items, self.taken = items, 0

    def __next__(self) -> Item:
        item = next(self._items)
        self.taken += 1
        return item
