"""What a compiled program does on one chip: FLOPs, bytes of main memory, collectives."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from r3jax.plan import collectives, hlo
from r3jax.plan.collectives import Collective
from r3jax.plan.hlo import Computation, Executed, Instruction

_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional",
    "call", "after-all", "partition-id", "replica-id", "opt-barrier", "async-start",
    "async-update", "async-done", "iota",
}  # fmt: skip
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one run of a program costs a chip: floating-point operations of products of matrices,
    bytes of main memory read and written, and its collectives."""

    flops: float
    bytes: float
    collectives: tuple[Collective, ...]

    @property
    def collective_bytes(self) -> Mapping[str, float]:
        """Bytes by kind of collective."""
        found = dict.fromkeys(collectives.KINDS, 0.0)
        for one in self.collectives:
            found[one.kind] += one.bytes * one.times
        return {kind: size for kind, size in found.items() if size}


def of_program(text: str, unknown: Sequence[int] = ()) -> Costs:
    """The costs of a compiled program, told by its text; `unknown` as in `hlo.executed`."""
    module = hlo.parse(text)
    flops = moved = 0.0
    exchanged = []
    for one in hlo.executed(module, unknown):
        flops += one.times * _flops(one)
        if one.fusion is None:
            moved += one.times * _bytes(one, module)
        if (found := collectives.of_instruction(one)) is not None:
            exchanged.append(found)
    return Costs(flops, moved, tuple(exchanged))


def _flops(one: Executed) -> float:
    what = one.instruction
    if what.opcode == "dot":
        contracted = _CONTRACTED.search(what.text)[1]
        sizes = one.computation[what.operands[0]].shapes[0].dims
        depth = math.prod(sizes[int(axis)] for axis in contracted.split(",") if axis)
        return 2.0 * math.prod(what.shapes[0].dims) * depth
    if what.opcode == "convolution":
        return _convolution_flops(what, one.computation)
    return 0.0


def _convolution_flops(what: Instruction, computation: Computation) -> float:
    """A TPU multiplies matrices as convolutions, whose window goes over the axes of a batch."""
    labels = _LABELS.search(what.text)
    of_input, of_kernel, of_output = labels.groups()
    given, kernel = (computation[name].shapes[0].dims for name in what.operands[:2])
    result = what.shapes[0].dims
    outer = math.prod(result[of_output.index(axis)] for axis in "bf")
    pairs = 1
    for number, axis in enumerate(sorted(set(of_output) - set("bf"))):
        size = given[of_input.index(axis)]
        window = _window(what.text, number)
        pairs *= _valid_pairs(size, kernel[of_kernel.index(axis)], window)
    return 2.0 * outer * kernel[of_kernel.index("i")] * pairs


def _window(text: str, axis: int) -> dict[str, tuple[int, ...]]:
    """The numbers of a window along one of its axes, by name."""
    found = _WINDOW.search(text)
    parts = dict(part.split("=") for part in found[1].split()) if found else {}
    along = {name: value.split("x")[axis] for name, value in parts.items()}
    return {name: tuple(int(n) for n in value.split("_")) for name, value in along.items()}


def _valid_pairs(size: int, kernel: int, window: Mapping[str, tuple[int, ...]]) -> int:
    """How many pairs of a place of the result and of the kernel meet a number that is there."""
    low, high = window.get("pad", (0, 0))
    (stride,), (apart,), (spread,) = (
        window.get(name, (1,)) for name in ("stride", "lhs_dilate", "rhs_dilate")
    )
    wide = (size - 1) * apart + 1
    reach = (kernel - 1) * spread + 1
    places = np.arange((wide + low + high - reach) // stride + 1) * stride - low
    met = places[:, None] + np.arange(kernel)[None] * spread
    return int(((met >= 0) & (met < wide) & (met % apart == 0)).sum())


def _bytes(one: Executed, module: hlo.Module) -> float:
    """What an instruction reads of main memory and writes to it."""
    what = one.instruction
    if what.opcode in _FREE or what.opcode.endswith("-done"):
        return 0.0
    if what.opcode in ("copy-start", "slice-start"):  # names what it reads and what it writes
        pair = what.shapes[:2]
        return float(min(s.bytes for s in pair) * sum(s.in_main_memory for s in pair))
    if what.opcode == "dynamic-update-slice":  # writes in place
        return 2.0 * one.computation[what.operands[1]].shapes[0].bytes
    inside = module.computations.get(what.called[0]) if what.opcode == "fusion" else None
    read = sum(
        _read_bytes(one.computation[name], number, inside)
        for number, name in enumerate(what.operands)
        if name in one.computation
    )
    if what.opcode in ("dynamic-slice", "slice", "gather"):
        read = min(read, sum(shape.bytes for shape in what.shapes))
    return read + _written_bytes(what, inside)


def _read_bytes(operand: Instruction, number: int, inside: Computation | None) -> int:
    """What is read of an operand: of one that a fusion slices, the slices alone."""
    whole = sum(shape.bytes for shape in operand.shapes if shape.in_main_memory)
    if inside is None or not whole:
        return whole
    parameter = next(
        (p for p in inside.values() if p.opcode == "parameter" and p.text.startswith(f"{number})")),
        None,
    )
    if parameter is None:
        return whole
    uses = [use for use in inside.values() if parameter.name in use.operands]
    if uses and all(use.opcode in ("dynamic-slice", "slice", "gather") for use in uses):
        return min(whole, sum(shape.bytes for use in uses for shape in use.shapes))
    if uses and all(_only_updates(use, parameter.name) for use in uses):
        return 0
    return whole


def _only_updates(use: Instruction, name: str) -> bool:
    """Whether an array is there to have a part of it written."""
    return use.opcode == "dynamic-update-slice" and use.operands[0] == name


def _written_bytes(what: Instruction, inside: Computation | None) -> int:
    whole = sum(shape.bytes for shape in what.shapes if shape.in_main_memory)
    if what.opcode.endswith("-start"):  # its result names what it takes as well
        return max((shape.bytes for shape in what.shapes if shape.in_main_memory), default=0)
    if inside is None:
        return whole
    root = next(one for one in inside.values() if one.is_root)
    if root.opcode == "dynamic-update-slice":
        return min(whole, inside[root.operands[1]].shapes[0].bytes)
    return whole
