"""Several models on several benchmarks, by the same prompts, pixels and scorers: one table.

output/
  MODEL/BENCHMARK/   an evaluation each, which goes on where it was stopped
  table.md           the numbers, a line a model
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3jax import config, paths
from r3jax.run import evaluation
from r3jax.run.evaluation import Evaluation
from r3jax.view import columns

TABLE = "table.md"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table: a `benchmark` (default: that of its `name`) and its `data`, the
    `number` of its scores that is shown (default: the first), and what else its `evaluation` is to
    be, as flags of launch/evaluate.py."""

    name: str
    data: str
    benchmark: str = ""
    number: str = ""
    evaluation: Mapping[str, str | int | float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Models, each with the `name` that the table shows and those flags of launch/evaluate.py that
    say who is asked; benchmarks; and what all evaluations have in `common`."""

    models: tuple[Mapping[str, str | int | float], ...]
    benchmarks: tuple[Column, ...]
    common: Mapping[str, str | int | float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if not self.models or not self.benchmarks:
            raise ValueError("expected at least one of models and one of benchmarks")
        for model in self.models:
            if "name" not in model:
                raise ValueError(f"models: expected each to have a name, found {dict(model)}")
        for names in (
            [str(model["name"]) for model in self.models],
            [column.name for column in self.benchmarks],
        ):
            folders = [_file(name).lower() for name in names]
            if twice := {name for name in names if folders.count(_file(name).lower()) > 1}:
                raise ValueError(f"names of one folder: {', '.join(sorted(twice))}: change one")
        for model in self.models:
            for column in self.benchmarks:
                self.cell(model, column)

    def cell(self, model: Mapping[str, str | int | float], column: Column) -> Evaluation:
        """One evaluation of the table."""
        flags = {**self.common, **column.evaluation, **model}
        where = f"{flags.pop('name')} on {column.name}"
        flags |= {"benchmark": column.benchmark or column.name, "data": column.data}
        return config.build(Evaluation, flags, where)


def run(asked: Comparison, output: str | Path) -> list[str]:
    """Makes all evaluations that are not there yet; returns what went wrong, a line each.

    One that fails leaves its place in the table empty, and the others go on.
    """
    output, problems = paths.of(output), []
    numbers: dict[tuple[str, str], str] = {}
    for model, column in itertools.product(asked.models, asked.benchmarks):
        name = str(model["name"])
        print(f"{name} on {column.name}", flush=True)
        try:
            folder = output / _file(name) / _file(column.name)
            found = evaluation.run(asked.cell(model, column), folder)
            numbers[name, column.name] = number(found, column.number)
        except (ValueError, OSError) as error:
            problems.append(f"{name} on {column.name}: {error}")
        paths.write_whole(output / TABLE, table(asked, numbers))
    return problems


def number(found: Mapping[str, Any], name: str) -> str:
    """The number of an evaluation that the table shows.

    Raises: ValueError where it has none of that name.
    """
    scores = found["scores"] if "scores" in found else {"all": 100 * found["all"]}
    name = name or next(iter(scores))
    if name not in scores:
        raise ValueError(f"no number {name!r}: expected one of {', '.join(scores)}")
    return f"{scores[name]:.1f}"


def table(asked: Comparison, numbers: Mapping[tuple[str, str], str]) -> str:
    """The table as Markdown."""
    names = [column.name for column in asked.benchmarks]
    head = ["", *names]
    models = [str(model["name"]) for model in asked.models]
    rows = [[model, *(numbers.get((model, name), "") for name in names)] for model in models]
    return "\n".join(columns.aligned([head, *rows])) + "\n"


def _file(name: str) -> str:
    """A name as that of a folder: V* is V-star."""
    return re.sub(r"[^\w.-]+", "-", name.replace("*", "-star")).strip("-")
