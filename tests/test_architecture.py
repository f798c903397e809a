"""Imports point one way: every import inside the project is an edge of the table below. And whoever
takes every error says why."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

GROUND, CONFIG = "ground floor", "config"
EVERYTHING = {
    GROUND, CONFIG, "data", "model", "kernels", "reward", "rollout", "update", "checkpoint",
    "curate", "evaluate", "view", "serve", "plan", "run",
}  # fmt: skip
MAY_IMPORT = {
    GROUND: {CONFIG},
    CONFIG: {GROUND},
    "data": {GROUND, CONFIG},
    "reward": {GROUND, CONFIG},
    "kernels": {GROUND, CONFIG},
    "model": {GROUND, CONFIG, "kernels"},
    "rollout": {GROUND, CONFIG, "data", "model", "kernels"},
    "update": {GROUND, CONFIG, "model"},
    "checkpoint": {GROUND, CONFIG, "model", "update"},
    "curate": {GROUND, CONFIG, "data", "reward"},
    "evaluate": {GROUND, CONFIG, "data", "reward"},
    "view": {GROUND, CONFIG, "data", "reward"},
    "serve": {GROUND, CONFIG, "data", "view"},
    "plan": EVERYTHING - {"run"},
    "run": EVERYTHING,
    "launch": {CONFIG, "run"},
    "configs": {CONFIG, "run"},
    "r3jax": {"run"},  # r3jax/__init__.py: the door for notebooks
}
NUMPY_ONLY = ("data", "reward", "curate", "serve")
"""Parts that workers without an accelerator run: no JAX in them."""


def part_of(module: str) -> str:
    """The part that a module of the project belongs to.

    `r3jax.data.frames` belongs to data, `r3jax.patches` to the ground floor, `launch.train` to
    launch.
    """
    names = module.split(".")
    if names[0] != "r3jax" or len(names) == 1:
        return names[0]
    if names[1] == CONFIG:
        return CONFIG
    return names[1] if (ROOT / "r3jax" / names[1]).is_dir() else GROUND


def imported(tree: ast.AST, module: str) -> list[tuple[int, str]]:
    """Line and full name of every module that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *base.split(".")]).strip(".")
            # `from r3jax import patches` names a module; `from r3jax.data import frames` as well.
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "r3jax" else [base]
            found += [(node.lineno, name) for name in names]
    return found


def forbidden(path: pathlib.Path) -> list[str]:
    """The imports of a file that the table does not allow, each with its line."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    part = part_of(module.removesuffix(".__init__"))
    complaints = []
    for line, name in imported(ast.parse(path.read_text()), module):
        where = f"{path.relative_to(ROOT)}:{line}"
        top = name.split(".")[0]
        if top in ("r3jax", "launch", "configs", "tests"):
            target = part_of(name)
            if target != part and target not in MAY_IMPORT[part]:
                complaints.append(f"{where}: {part} may not import {target} ({name})")
        elif part in NUMPY_ONLY and top in ("jax", "flax", "optax"):
            complaints.append(f"{where}: {part} uses NumPy only, found {name}")
        elif top in ("torch", "transformers"):
            complaints.append(f"{where}: {name} belongs to the tests alone")
    return complaints


FILES = sorted(
    path for folder in ("r3jax", "launch", "configs") for path in (ROOT / folder).rglob("*.py")
)


def test_every_import_is_an_edge_of_the_table():
    assert len(FILES) > 10
    complaints = [complaint for path in FILES for complaint in forbidden(path)]
    assert not complaints, "\n".join(complaints)


def test_every_part_stands_in_the_table():
    folders = {path.parent.name for path in (ROOT / "r3jax").glob("*/*.py")}
    assert folders <= set(MAY_IMPORT), f"not in the table: {folders - set(MAY_IMPORT)}"


def unexplained(source: str) -> list[int]:
    """Lines that take every error there is and do not say why."""
    lines = source.splitlines()
    broad = [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    return [line for line in broad if "#" not in lines[line - 1]]


def test_who_takes_every_error_says_why():
    assert unexplained("try:\n    f()\nexcept Exception:\n    pass") == [3]
    found = [(str(path), line) for path in FILES for line in unexplained(path.read_text("utf-8"))]
    assert not found


@pytest.mark.parametrize(
    "module, source, edge",
    [
        ("r3jax/patches.py", "from r3jax.data import frames", "ground floor may not import data"),
        ("r3jax/data/x.py", "from r3jax import model", "data may not import model"),
        ("r3jax/data/x.py", "def f():\n    import jax.numpy", "data uses NumPy only"),
        ("r3jax/update/x.py", "from ..rollout import engine", "update may not import rollout"),
        ("launch/train.py", "import r3jax.model.qwen", "launch may not import model"),
        ("r3jax/run/x.py", "import torch", "torch belongs to the tests alone"),
    ],
)
def test_a_forbidden_import_is_found(module, source, edge, tmp_path, monkeypatch):
    for folder in ("data", "model", "rollout"):
        (tmp_path / "r3jax" / folder).mkdir(parents=True)
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    monkeypatch.setattr("tests.test_architecture.ROOT", tmp_path)
    (complaint,) = forbidden(path)
    assert complaint.startswith(f"{module}:") and edge in complaint
