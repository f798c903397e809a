"""What chips exchange: the collectives in a program's text, with their groups of devices."""

import dataclasses
import math
import re

import numpy as np

from r3jax.plan.hlo import Executed

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_GROUPS = re.compile(r"replica_groups=\{(\{[\d,{}]*\})\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\]"
    r"(?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
)
_AXES = re.compile(r"'(\w+)'=(\d+)")
_PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{}]*\})\}")
_START, _MEANWHILE = "async-collective-start", "async_collective_fusion"
_DONE = "async-collective-done"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation: its `kind`, the bytes that a chip brings or takes (the larger), the
    chips of its first group (none: all), how often it runs, and whether the chip computes
    meanwhile."""

    kind: str
    bytes: int
    group: tuple[int, ...]
    times: float
    hidden: bool


def of_instruction(one: Executed) -> Collective | None:
    """The collective that an instruction is; None where it is none, or counted elsewhere."""
    what = one.instruction
    kind = what.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    hidden = what.opcode != kind
    if one.fusion is not None:
        # What goes on beside others stands in a fusion where it starts, in each of those that are
        # computed meanwhile, and where it is done.
        inside = one.fusion.called[0]
        if one.fusion.name.startswith(_DONE) or inside.startswith(_MEANWHILE):
            return None
        hidden = hidden or one.fusion.name.startswith(_START)
        kind = "reduce-scatter" if inside.startswith("all-reduce-scatter") else kind
    given = [one.computation[name] for name in what.operands if name in one.computation]
    sizes = [sum(shape.bytes for shape in operand.shapes) for operand in given]
    result = sum(s.bytes for s in what.shapes) - (sum(sizes) if what.opcode != kind else 0)
    return Collective(kind, max(sum(sizes), result), _first_group(what.text), one.times, hidden)


def _first_group(text: str) -> tuple[int, ...]:
    """The devices that take part together, in the first of the groups; none: all."""
    if found := _IOTA.search(text):
        shape = [int(n) for n in found[1].split(",")]
        return _numbers(_iota(found[2], found[3]).reshape(shape)[0])
    if found := _MESH.search(text):
        sizes = {name: int(size) for name, size in _AXES.findall(found[1])}
        order = np.arange(math.prod(sizes.values())) if not found[2] else _iota(found[2], found[3])
        names, along = list(sizes), re.findall(r"'(\w+)'", found[4])
        rest = [place for place, name in enumerate(names) if name not in along]
        last = [names.index(name) for name in along]
        together = math.prod(sizes[name] for name in along)
        order = order.reshape(*sizes.values()).transpose(*rest, *last)
        return _numbers(order.reshape(-1, together)[0])
    if found := _GROUPS.search(text) or _PAIRS.search(text):
        first = found[1][1:].split("}")[0]
        return tuple(int(n) for n in first.split(",") if n)
    return ()


def _iota(sizes: str, order: str | None) -> np.ndarray:
    """All devices in order, with axes of these sizes, which `order` rearranges."""
    shape = [int(n) for n in sizes.split(",")]
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return numbers.transpose([int(n) for n in order.split(",")]) if order else numbers


def _numbers(group: np.ndarray) -> tuple[int, ...]:
    return tuple(int(n) for n in group.ravel())
