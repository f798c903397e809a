"""Programs compiled for a slice, and what each of them needs."""

import dataclasses
import re
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r3jax import compiles
from r3jax.plan import costs
from r3jax.plan.chips import GIB
from r3jax.plan.costs import Costs

# What the compiler says of a program that does not fit, and whether arguments are in its figure.
_TOO_LARGE = (
    (re.compile(r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm"), True),
    (re.compile(r"HLO temporaries \(([\d.]+)([KMGT])\) exceeds available HBM"), False),
    (re.compile(r"Requires ([\d.]+)([KMGT]), has [\d.]+[KMGT] available"), True),
    (re.compile(r"Hbm usage: ([\d.]+)([KMGT])"), True),
)
_UNITS = {"K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a chip's main memory: what a program is given, returns in other memory than what it
    was given, uses besides, and what else lies there while it runs."""

    arguments: float
    outputs: float
    temporaries: float
    resident: float = 0.0

    @property
    def peak(self) -> float:
        return self.arguments + self.outputs + self.temporaries + self.resident


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program: what one chip `needs` for it and what it `costs`, and how many `seconds`
    it took to compile.

    `costs` is None of one that the compiler refused because it does not fit.
    """

    name: str
    needs: Memory
    costs: Costs | None
    seconds: float

    @property
    def kind(self) -> str:
        """What it is, at whatever size: the first word of its name."""
        return self.name.split()[0]


class Compiler:
    """Compiles what it takes for the devices of a mesh.

    `programs` are those that it took. `unknown` says of programs, by the first word of their names,
    how often loops turn whose turns are not known (`hlo.executed`).
    """

    def __init__(
        self,
        mesh: Mesh,
        unknown: Mapping[str, Sequence[int]],
        tell: Callable[[Program], None] = lambda program: None,
    ):
        self.programs: list[Program] = []
        self._mesh, self._unknown, self._tell = mesh, unknown, tell
        self._given: list[list[jax.ShapeDtypeStruct]] = []

    def take(self, name: str, function: Callable, *args) -> Any:
        """A `warm.Take`: compiles a program, keeps what it needs, returns the shapes it makes."""
        args = placed(self._mesh, args)
        leaves = jax.tree.leaves(args)
        given = [one for one in leaves if isinstance(one, jax.ShapeDtypeStruct)]
        began = time.monotonic()
        lowered = lower(self._mesh, function, args)
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            needs, found = _refused(error, sum(map(bytes_on_chip, given))), None
        else:
            needs = _memory(compiled)
            text = compiled.as_text()
            found = costs.of_program(text, self._unknown.get(name.split()[0], ()))
        program = Program(name, needs, found, time.monotonic() - began)
        self.programs.append(program)
        self._given.append(given)
        self._tell(program)
        return compiles.returned(lowered)

    def beside(self, resident: Any, kinds: Container[str] | None = None) -> None:
        """Counts arrays that lie in memory while programs run, of those `kinds` (None: of all), but
        for what a program itself is given of them and reads."""
        held = {id(leaf): bytes_on_chip(leaf) for leaf in jax.tree.leaves(resident)}
        for number, (program, given) in enumerate(zip(self.programs, self._given, strict=True)):
            if kinds is None or program.kind in kinds:
                own = sum(bytes_on_chip(leaf) for leaf in given if id(leaf) not in held)
                read = max(program.needs.arguments - own, 0)
                more = max(sum(held.values()) - read, 0)
                needs = dataclasses.replace(program.needs, resident=more)
                self.programs[number] = dataclasses.replace(program, needs=needs)


def placed(mesh: Mesh, args: Any) -> Any:
    """Arguments as shapes; arrays that lie nowhere yet come whole to every device of a mesh."""
    whole = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None:
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct | np.ndarray | np.generic | jax.Array):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole)
        return leaf

    return jax.tree.map(place, args)


def lower(mesh: Mesh, function: Callable, args: Sequence) -> jax.stages.Lowered:
    """Lowers a jitted function for the devices of a mesh.

    Kernels ask what they are lowered for: without a mesh around them, the machine that compiles.
    """
    leaves = jax.tree.leaves(args)
    meshes = {leaf.sharding.mesh for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)}
    if meshes != {mesh}:
        return function.lower(*args)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return function.lower(*args)


def bytes_on_chip(leaf: jax.ShapeDtypeStruct) -> int:
    """What a chip has of an array."""
    shape = leaf.shape if leaf.sharding is None else leaf.sharding.shard_shape(leaf.shape)
    return int(np.prod(shape)) * leaf.dtype.itemsize


def _memory(compiled: jax.stages.Compiled) -> Memory:
    found = compiled.memory_analysis()
    return Memory(
        found.argument_size_in_bytes,
        found.output_size_in_bytes - found.alias_size_in_bytes,
        found.temp_size_in_bytes + found.generated_code_size_in_bytes,
    )


def _refused(error: jax.errors.JaxRuntimeError, given: float) -> Memory:
    """What a program needs that the compiler refused, whose arguments are `given` bytes; other
    errors are raised again."""
    for form, has_arguments in _TOO_LARGE:
        if found := form.search(str(error)):
            used = float(found[1]) * _UNITS[found[2]]
            return Memory(given, 0.0, max(used - given, 0.0) if has_arguments else used)
    raise error
