"""The text of a compiled program as instructions, and how often each of them runs.

The compiler's own cost analysis counts the body of a loop once, whatever it is made of; here a loop
counts as often as it turns. Source: the text form of XLA's HLO.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

_SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "token": 0, "c64": 8, "c128": 16}
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")
_NAME = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_CALLED = re.compile(r"(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_BODY = re.compile(r"body=%?([\w.\-]+)")
_INDEX = re.compile(r"index=(\d+)")
# In layouts, where an array does not lie in main memory: vector memory, and that which the cores of
# a v4 share.
FAST_MEMORY = re.compile(r"S\([13]\)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array's: its `kind` of numbers, its sizes, and whether it lies in a chip's main memory."""

    kind: str
    dims: tuple[int, ...]
    in_main_memory: bool = True

    @property
    def bytes(self) -> int:
        """Its size in bytes, without what tiles pad."""
        size = _SIZES.get(self.kind)
        if size is None:
            size = int(re.sub(r"\D*(\d+).*", r"\1", self.kind)) / 8
        return math.ceil(math.prod(self.dims) * size)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation: `shapes` of its result (several of a tuple), names of what it
    takes, and the rest of the line as `text`."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    text: str
    is_root: bool

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """The computations that it runs: one, or the branches of a condition."""
        if found := _BRANCHES.search(self.text):
            return tuple(name.strip().lstrip("%") for name in found[1].split(","))
        return tuple(_CALLED.findall(self.text))


Computation = Mapping[str, Instruction]
"""Instructions by name, in order."""


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: its computations by name, and which one is the first."""

    computations: Mapping[str, Computation]
    entry: str


@dataclasses.dataclass(frozen=True)
class Executed:
    """An instruction of a computation and how often the program runs it.

    Those of a computation that a fusion calls, `fusion`, are parts of it, and read and write no
    memory of their own.
    """

    instruction: Instruction
    computation: Computation
    times: float
    fusion: Instruction | None


def parse(text: str) -> Module:
    """Reads the text of a compiled program.

    >>> add = "ENTRY %f (x: f32[2]) -> f32[2] {\\n %x = f32[2]{0} parameter(0)\\n"
    >>> module = parse(add + " ROOT %y = f32[2]{0} add(%x, %x)\\n}")
    >>> module.computations["f"]["y"].operands
    ('x', 'x')
    """
    computations: dict[str, dict[str, Instruction]] = {}
    current, entry = None, ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations.setdefault(found[1], {})
            entry = found[1] if line.startswith("ENTRY") else entry
        elif current is not None and (found := _NAME.match(line)):
            read = _read(line[found.end() :], found[2], found[1] is not None)
            current[read.name] = read
    if not entry:
        raise ValueError("expected the text of a compiled program, found none with an entry")
    return Module(computations, entry)


def _read(rest: str, name: str, is_root: bool) -> Instruction:
    end = _close(rest, 0) if rest.startswith("(") else _SHAPE.match(rest).end()
    shapes = tuple(
        Shape(kind, tuple(int(n) for n in dims.split(",") if n), not FAST_MEMORY.search(layout))
        for kind, dims, layout in _SHAPE.findall(rest[:end])
    )
    opcode = _OPCODE.match(rest, end)
    last = _close(rest, opcode.end() - 1)
    operands = re.findall(r"%([\w.\-]+)", rest[opcode.end() : last])
    return Instruction(name, opcode[1], shapes, tuple(operands), rest[opcode.end() :], is_root)


def _close(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` has closed."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(f"a parenthesis never closes in {text[:80]!r}")


def trips(module: Module, loop: Instruction) -> int | None:
    """How often a loop turns; None where that is not known before it runs.

    The compiler says it, or the condition is that a counter, from 0 on and by a constant at a time,
    is below another one.
    """
    if found := _TRIPS.search(loop.text):
        return int(found[1])
    condition = module.computations[_CONDITION.search(loop.text)[1]]
    root = next(one for one in condition.values() if one.is_root)
    if root.opcode != "compare" or "direction=LT" not in root.text:
        return None
    counter, limit = (condition[name] for name in root.operands)
    if counter.opcode != "get-tuple-element" or limit.opcode != "constant":
        return None
    body = module.computations[_BODY.search(loop.text)[1]]
    place = int(_INDEX.search(counter.text)[1])
    after = body[next(one for one in body.values() if one.is_root).operands[place]]
    steps = [body[name] for name in after.operands if body[name].opcode == "constant"]
    if after.opcode != "add" or not steps:
        return None
    return -(-_integer(limit) // _integer(steps[0]))


def _integer(constant: Instruction) -> int:
    return int(constant.text.split(")")[0])


def executed(module: Module, unknown: Sequence[int] = ()) -> Iterator[Executed]:
    """Yields every instruction that the program runs, with how often.

    Loops whose turns are not known take `unknown[depth]`, counted from the outermost of them on (1
    where it has no number). Of a condition the longest branch counts, by number of instructions.
    """
    yield from _within(module, module.entry, 1.0, None, tuple(unknown))


def _within(
    module: Module,
    name: str,
    times: float,
    fusion: Instruction | None,
    unknown: tuple[int, ...],
) -> Iterator[Executed]:
    computation = module.computations[name]
    for one in computation.values():
        yield Executed(one, computation, times, fusion)
        if one.opcode in ("reduce", "sort", "scatter", "select-and-scatter", "map", "all-reduce"):
            continue  # what they call is a single operation
        inner, left = times, unknown
        if one.opcode == "while":
            turns = trips(module, one)
            inner = times * ((unknown or (1,))[0] if turns is None else turns)
            left = unknown[1:] if turns is None else unknown
        called = [name for name in one.called if name in module.computations]
        if one.opcode == "conditional":
            called = [max(called, key=lambda branch: _size(module, branch))]
        for branch in called:
            outer = one if one.opcode == "fusion" and fusion is None else fusion
            yield from _within(module, branch, inner, outer, left)


def _size(module: Module, name: str) -> int:
    """How many instructions a computation has, with those of what it calls."""
    found = 0
    for one in module.computations[name].values():
        called = [branch for branch in one.called if branch in module.computations]
        found += 1 + sum(_size(module, branch) for branch in called)
    return found
