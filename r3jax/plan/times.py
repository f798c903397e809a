"""How long programs take on a slice at least, and a step that is made of them. Predictions.

A chip computes, reads its memory and exchanges at its highest rates; nothing is lost between
programs, and the host never keeps a chip waiting.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax

from r3jax.plan.chips import Slice
from r3jax.plan.collectives import Collective
from r3jax.plan.costs import Costs
from r3jax.plan.programs import Program


@dataclasses.dataclass(frozen=True)
class Times:
    """How long a chip is busy at least, in seconds: with computing, with its main memory, with
    exchanges while it computes (`hidden`) and with those that it waits for (`waiting`)."""

    compute: float
    memory: float
    hidden: float
    waiting: float

    @property
    def total(self) -> float:
        """Computing, memory and hidden exchanges go on at the same time."""
        return max(self.compute, self.memory, self.hidden) + self.waiting

    def repeated(self, number: float) -> "Times":
        """Those of so many runs."""
        return Times(*(number * part for part in dataclasses.astuple(self)))

    @property
    def collective(self) -> float:
        """How much of the total is waiting for other chips."""
        return self.total - max(self.compute, self.memory)


def times(found: Costs, where: Slice, members: Sequence[jax.Device]) -> Times:
    """The times of a run of a program on a slice; what is exchanged goes around rings of links."""
    waiting, hidden = (
        sum(
            one.times * _exchange(one, where, members)
            for one in found.collectives
            if one.hidden is is_hidden
        )
        for is_hidden in (False, True)
    )
    compute, memory = found.flops / where.chip.flops, found.bytes / where.chip.bandwidth
    return Times(compute, memory, hidden, waiting)


def _exchange(one: Collective, where: Slice, members: Sequence[jax.Device]) -> float:
    number = len(one.group) or len(members)
    places = [tuple(members[i].coords) for i in one.group or range(len(members))]
    share = (number - 1) / number
    around = one.bytes * share / where.bandwidth(places)
    match one.kind:
        case "all-reduce":
            return 2 * around  # a reduce-scatter, then an all-gather
        case "all-to-all":  # along each axis every part goes a quarter of the way, or a half
            return max(
                one.bytes * chips / (8 if closed else 4) / where.chip.link
                for chips, closed in where.rings(places) or [(1, False)]
            )
        case "collective-permute":
            return one.bytes / where.chip.link
    return around


@dataclasses.dataclass(frozen=True)
class Step:
    """A step at its longest: how often each kind of program `runs`, the `tokens` that are sampled
    or trained, the FLOPs that the model itself asks of the update, and what is `supposed`."""

    runs: Mapping[str, float]
    tokens: int
    update_flops: float
    supposed: str


LEARNING = ("update", "zeros", "gradient", "apply")
UPDATE = ("reference", *LEARNING)
"""Kinds of programs that belong to the update; those that learn in it."""


def of_step(
    programs: Sequence[Program],
    runs: Mapping[str, float],
    where: Slice,
    members: Sequence[jax.Device],
) -> dict[str, Times]:
    """The times of a step, by kind of program: the largest of each kind, as often as it runs.

    A kind is the first word of a name. Those that the compiler refused are left out.
    """
    found: dict[str, Times] = {}
    for program in programs:
        kind = program.kind
        if program.costs is None or not runs.get(kind):
            continue
        one = times(program.costs, where, members)
        if kind not in found or one.total > found[kind].total:
            found[kind] = one
    return {kind: one.repeated(runs[kind]) for kind, one in found.items()}
