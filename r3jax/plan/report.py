"""A plan as a table for people, and as an object for programs."""

from collections.abc import Mapping
from typing import Any

from r3jax.plan.chips import GIB
from r3jax.plan.predictions import Plan, summary
from r3jax.plan.programs import Program
from r3jax.view import columns

SHORT = {
    "all-gather": "gather",
    "all-reduce": "reduce",
    "reduce-scatter": "scatter",
    "all-to-all": "all-to-all",
    "collective-permute": "permute",
}
NO_TIME = 5e-4  # seconds; programs that take less are not worth a line


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
    table = columns.aligned([head, *rows])
    told = [
        f"**{plan.where.topology}**, {plan.where.chips} chips of {limit / GIB:.2f} GiB; per chip:"
    ]
    if hidden:
        table.append(f"\nPrograms that take under {NO_TIME * 1e3:g} ms are not shown: {hidden}.")
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


def suggestion(fits: Mapping[int, float], name: str) -> str:
    """What to write into a config, of batch sizes and the share of memory that each leaves."""
    able = {size: left for size, left in fits.items() if left >= 0}
    if not able:
        smallest = min(fits)
        return f"no {name} fits: {smallest} needs {-fits[smallest]:.0%} more memory than there is"
    best = max(able)
    return f"{name}={best} is the largest of {sorted(fits)} that fits: {able[best]:.0%} left"
