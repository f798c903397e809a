"""An experiment file, and what the command line changes in it.

python launch/train.py --config=configs/look_again.py --config.optimizer.learning_rate=3e-7
"""

import ast
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path

PREFIX = "--config."


def load(name: str | Path) -> dict:
    """Returns what `get_config()` of a Python file returns, a ConfigDict, as plain mappings.

    FILE:PRESET calls get_config(PRESET). Raises: ValueError where there is no such file, or no such
    function in it.
    """
    file, colon, preset = str(name).rpartition(":")
    path = Path(file if colon else str(name))
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(
            f"{path} is no experiment file: name a Python file such as those of configs/"
        )
    spec = importlib.util.spec_from_file_location("experiment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} has no get_config(): write one that returns a ConfigDict")
    if colon and not inspect.signature(module.get_config).parameters:
        raise ValueError(f"{path} has no presets: name the file without :{preset}")
    config = module.get_config(preset) if colon else module.get_config()
    if not hasattr(config, "to_dict"):
        raise ValueError(f"{path}: get_config() must return a ConfigDict, found {config!r}")
    return config.to_dict()


def override(values: dict, arguments: Sequence[str]) -> dict:
    """Returns `values` with each `--config.name=value` put in; fields may be absent so far.

    A value is read as Python writes it, otherwise as text; true and false are bools. Whether the
    field exists and the value fits is checked when the config becomes a record.

    >>> override({"steps": 9, "optimizer": {"b1": 0.9}}, ["--config.optimizer.b1=0.8"])
    {'steps': 9, 'optimizer': {'b1': 0.8}}
    """
    for argument in arguments:
        name, equals, text = argument.removeprefix(PREFIX).partition("=")
        if not argument.startswith(PREFIX) or not equals:
            raise ValueError(f"unexpected argument {argument}: write {PREFIX}name=value")
        values = _put(values, name.split("."), _literal(text), "config")
    return values


def _put(values: dict, path: Sequence[str], value: object, where: str) -> dict:
    if not isinstance(values, dict):
        raise ValueError(f"{where} has no fields, found {values!r}: override it as a whole")
    first, *rest = path
    if rest:
        value = _put(values.get(first, {}), rest, value, f"{where}.{first}")
    return {**values, first: value}


def _literal(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
