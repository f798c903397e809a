"""A plan: what a run's programs need on a slice, and what a step and the whole run will take."""

import dataclasses
from collections.abc import Sequence

import jax

from r3jax.plan import times
from r3jax.plan.chips import Slice
from r3jax.plan.programs import Program
from r3jax.plan.times import Step, Times


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run of so many `steps` needs on a slice, whose devices are `members`."""

    where: Slice
    members: Sequence[jax.Device]
    programs: Sequence[Program]
    step: Step
    steps: int

    @property
    def headroom(self) -> float:
        """The share of a chip's memory that the largest program leaves; below 0: none fits it."""
        return 1 - max(one.needs.peak for one in self.programs) / self.where.chip.hbm

    def times(self, program: Program) -> Times | None:
        """Those of one run of a program; None where the compiler refused it."""
        if program.costs is None:
            return None
        return times.times(program.costs, self.where, self.members)

    def of_step(self) -> dict[str, Times]:
        """The times of a step at its longest, by kind of program."""
        return times.of_step(self.programs, self.step.runs, self.where, self.members)


def summary(plan: Plan) -> dict[str, float]:
    """Predictions of a step and of the run: times in seconds, shares of 1."""
    parts = plan.of_step()
    update = sum(one.total for kind, one in parts.items() if kind in times.UPDATE)
    total = sum(one.total for one in parts.values())
    learning = sum(one.total for kind, one in parts.items() if kind in times.LEARNING)
    return {
        "step_s": total,
        "rollout_s": total - update,
        "update_s": update,
        "tokens_per_s": plan.step.tokens / total if total else 0.0,
        "update_mfu": _share(
            plan.step.update_flops, learning * plan.where.chips * plan.where.chip.flops
        ),
        "collective_share": _share(sum(one.collective for one in parts.values()), total),
        "chip_hours": total * plan.steps * plan.where.chips / 3600,
        "headroom": plan.headroom,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
