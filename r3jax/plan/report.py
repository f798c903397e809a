"""A plan as a table for people, and as an object for programs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from r3jax.plan import times
from r3jax.plan.chips import GIB, Slice
from r3jax.plan.programs import Program
from r3jax.plan.times import Step, Times

SHORT = {
    "all-gather": "gather",
    "all-reduce": "reduce",
    "reduce-scatter": "scatter",
    "all-to-all": "all-to-all",
    "collective-permute": "permute",
}
NO_TIME = 5e-4  # seconds; programs that take less are not worth a line


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


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    programs = []
    for one in plan.programs:
        took = plan.times(one)
        programs.append(
            {
                "name": one.name,
                "hbm_bytes": one.needs.peak,
                "hbm_limit_bytes": plan.where.chip.hbm,
                "arguments_bytes": one.needs.arguments,
                "outputs_bytes": one.needs.outputs,
                "temporaries_bytes": one.needs.temporaries,
                "resident_bytes": one.needs.resident,
                "flops": None if one.costs is None else one.costs.flops,
                "bytes": None if one.costs is None else one.costs.bytes,
                "collective_bytes": None if one.costs is None else dict(one.costs.collective_bytes),
                "predicted_s": None if took is None else took.total,
            }
        )
    told = {"topology": plan.where.topology, "chips": plan.where.chips, "programs": programs}
    fits = all(one.costs is not None for one in plan.programs)
    return {**told, "step": summary(plan) if fits else None, "supposed": plan.step.supposed}


def lines(plan: Plan) -> list[str]:
    """The plan as Markdown: programs that take time or memory, then the step and the run."""
    limit = plan.where.chip.hbm
    head = (
        "program",
        "HBM",
        "left",
        "TFLOP",
        "GB moved",
        "GB exchanged",
        "predicted",
        "runs a step",
    )
    rows = [_row(plan, one) for one in plan.programs if _is_worth(plan, one)]
    hidden = len(plan.programs) - len(rows)
    table = _table(head, rows)
    told = [
        f"**{plan.where.topology}**, {plan.where.chips} chips of {limit / GIB:.2f} GiB; per chip:"
    ]
    if hidden:
        table.append(f"\n{hidden} programs that take under {NO_TIME * 1e3:g} ms are not shown.")
    return [*told, "", *table, "", *_verdict(plan)]


def _is_worth(plan: Plan, one: Program) -> bool:
    took = plan.times(one)
    return took is None or took.total >= NO_TIME or one.needs.peak > plan.where.chip.hbm


def _row(plan: Plan, one: Program) -> tuple[str, ...]:
    limit, took = plan.where.chip.hbm, plan.times(one)
    memory = f"{one.needs.peak / GIB:.2f} GiB", f"{1 - one.needs.peak / limit:.0%}"
    runs = plan.step.runs.get(one.kind, 0)
    if took is None:
        return (one.name, *memory, "", "", "", "does not fit", f"{runs:g}")
    exchanged = ", ".join(
        f"{SHORT[kind]} {size / 1e9:.2f}"
        for kind, size in one.costs.collective_bytes.items()
        if size >= 5e6
    )
    work = f"{one.costs.flops / 1e12:.2f}", f"{one.costs.bytes / 1e9:.1f}", exchanged
    return (one.name, *memory, *work, f"{took.total * 1e3:.1f} ms", f"{runs:g}")


def _verdict(plan: Plan) -> list[str]:
    limit = plan.where.chip.hbm
    found = [
        f"- does not fit: {one.name} by {(one.needs.peak - limit) / GIB:.2f} GiB"
        for one in plan.programs
        if one.needs.peak > limit
    ]
    if any(one.costs is None for one in plan.programs):
        return [*found, "- no step is predicted while a program does not fit"]
    made = summary(plan)
    return [
        *found,
        f"- memory: {made['headroom']:.0%} left at the fullest",
        f"- a step, predicted for {plan.step.supposed}: {made['step_s']:.1f} s, of which rollout "
        f"{made['rollout_s']:.1f}, update {made['update_s']:.1f}; {made['tokens_per_s']:,.0f} "
        f"tokens a second; {made['update_mfu']:.0%} of the chips' FLOPs in the update; "
        f"{made['collective_share']:.0%} of the time waiting for other chips",
        f"- {plan.steps} steps, predicted: {made['chip_hours']:,.0f} chip-hours",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])])
    return [line(head), f"|{rule}|", *map(line, rows)]


def suggestion(fits: Mapping[int, float], name: str) -> str:
    """What to write into a config, of batch sizes and the share of memory that each leaves."""
    able = {size: left for size, left in fits.items() if left >= 0}
    if not able:
        smallest = min(fits)
        return f"no {name} fits: {smallest} needs {-fits[smallest]:.0%} more memory than there is"
    best = max(able)
    return f"{name}={best} is the largest of {sorted(fits)} that fits: {able[best]:.0%} left"
