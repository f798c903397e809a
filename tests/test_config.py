"""Configs: every file in configs/ becomes its record, and every field of every record is read."""

import ast
import dataclasses
import pathlib
import re
import typing

import pytest

from r3jax import config
from r3jax.run import comparison, experiment, train

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_becomes_a_record(path):
    values = experiment.load(path)
    if path.stem == "comparison":
        config.build(comparison.Comparison, values)
    else:
        kind, record = train.read(values)
        assert isinstance(record, train.KINDS[kind][0])
    assert (
        path.read_text().startswith('"""') and f"--config=configs/{path.name}" in path.read_text()
    )


def test_every_config_of_the_readme_becomes_a_record():
    blocks = re.findall(r"```python\n(# my_.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        names: dict = {}
        exec(block, names)
        kind, _ = train.read(names["get_config"]())
        assert block.startswith(f"# my_{kind}.py")


def test_what_the_readme_names_is_there():
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9.]*)`|\]\((.*?)\)", README)
    names = {"".join(pair) for pair in named}
    written_by_a_run = re.compile("(runs|report|export|sft|rgrpo|no_crop)/")
    places = (ROOT, ROOT / "tests", ROOT / "r3jax")
    lost = [
        name
        for name in names
        if not written_by_a_run.match(name) and not any((at / name).exists() for at in places)
    ]
    assert len(names) > 30 and not lost


def test_every_field_of_every_config_is_read():
    read = set().union(
        *(names_read(ast.parse(p.read_text())) for p in (ROOT / "r3jax").rglob("*.py"))
    )
    records = reachable([record for record, _ in train.KINDS.values()])
    assert len(records) > 15
    unread = [
        f"{record.__module__}.{record.__name__}.{field.name}"
        for record in records
        for field in dataclasses.fields(record)
        if field.name not in read
    ]
    assert not unread, "fields that nobody reads: " + ", ".join(unread)


def test_a_field_counts_as_read_outside_its_checks_only():
    source = """
class Config:
    steps: int = 1
    seed: int = 0
    def __post_init__(self):
        assert self.steps and self.seed
def run(config):
    config.unread = 1
    return config.steps
"""
    assert names_read(ast.parse(source)) == {"steps"}


def names_read(tree: ast.AST) -> set[str]:
    """Names that are read as attributes; checks in a __post_init__ do not count."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__":
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        found |= names_read(node)
    return found


def reachable(records: list[type]) -> list[type]:
    """The records and those that their fields hold, at any depth."""
    found: dict[type, None] = {}
    waiting = list(records)
    while waiting:
        record = waiting.pop()
        if record in found:
            continue
        found[record] = None
        for hint in typing.get_type_hints(record).values():
            waiting += [kind for kind in inside(hint) if dataclasses.is_dataclass(kind)]
    return list(found)


def inside(hint: object) -> list[object]:
    """An annotation and everything in its brackets."""
    return [hint, *(part for arg in typing.get_args(hint) for part in inside(arg))]
