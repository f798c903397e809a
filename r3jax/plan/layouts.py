"""How every argument of every program lies on a mesh, as lines of text."""

import re
from collections.abc import Callable, Container
from typing import Any

import jax
from jax.sharding import Mesh

from r3jax import compiles
from r3jax.plan import programs


class Recorder:
    """Writes down what it takes, and compiles nothing.

    `lines` are names of programs, and below each its arguments; those that differ in numbers alone,
    such as layers, stand there once.
    """

    def __init__(self, mesh: Mesh):
        self.lines: list[str] = []
        self._mesh = mesh

    def take(self, name: str, function: Callable, *args) -> Any:
        """A `warm.Take`."""
        args = programs.placed(self._mesh, args)
        self.lines.append(name)
        self.lines += dict.fromkeys(_lines(args))
        return compiles.returned(programs.lower(self._mesh, function, args))

    def beside(self, resident: Any, kinds: Container[str] | None = None) -> None:
        """Nothing is counted."""


def _lines(args: Any) -> list[str]:
    found = []
    for path, leaf in jax.tree.leaves_with_path(args):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            where = re.sub(r"\[\d+\]", "[*]", jax.tree_util.keystr(path))
            spec = ", ".join(map(_axes, leaf.sharding.spec)) or "whole"
            found.append(f"  {where} {leaf.dtype}{list(leaf.shape)}: {spec}")
    return found


def _axes(part: str | tuple[str, ...] | None) -> str:
    return "-" if part is None else part if isinstance(part, str) else "*".join(part)
