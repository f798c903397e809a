"""From a ConfigDict or JSON to frozen dataclasses, with every name and type checked at the door.

A misspelt field is an error that names the nearest right one; a value of the wrong type says what
was expected and what came. Nothing behind the door ever sees a ConfigDict.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Record = TypeVar("Record")


def build(record: type[Record], values: object, where: str = "config", strict: bool = False):
    """Returns a `record` made of `values` (a mapping of its fields), nested records included.

    Fields that are absent keep their defaults, unless `strict`. Lists become tuples. Raises
    ValueError naming the field by its path, such as config.optimizer.learning_rate.
    """
    if dataclasses.is_dataclass(values) and isinstance(values, record):
        return values
    if not isinstance(values, Mapping) and not hasattr(values, "items"):
        raise ValueError(f"{where}: expected fields of {record.__name__}, found {values!r}")
    hints = typing.get_type_hints(record)
    fields = {f.name: f for f in dataclasses.fields(record) if f.init}
    given = dict(values.items())
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1, cutoff=0.0)[0]
            raise ValueError(f"{where}: unknown field {name!r}; the nearest known one is {near!r}")
    missing = [n for n, f in fields.items() if n not in given and (strict or _required(f))]
    if missing:
        raise ValueError(f"{where}: missing field {', '.join(missing)}")
    read = {name: _read(hints[name], value, f"{where}.{name}") for name, value in given.items()}
    try:
        return record(**read)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _read(hint: Any, value: object, where: str) -> Any:
    """Checks one value against its annotation and converts it."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and types.NoneType in options:
        return None
    for option in options:
        if dataclasses.is_dataclass(option):
            return build(option, value, where)
        origin = typing.get_origin(option)
        if origin is typing.Literal and value in typing.get_args(option):
            return value
        if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
            return _read_tuple(option, value, where)
        if origin in (dict, Mapping) and (isinstance(value, Mapping) or hasattr(value, "items")):
            inner = typing.get_args(option)[1]
            return {str(k): _read(inner, v, f"{where}.{k}") for k, v in value.items()}
        if isinstance(option, type) and _fits(option, value):
            return option(value)
    names = " or ".join("None" if o is types.NoneType else _name(o) for o in options)
    raise ValueError(f"{where}: expected {names}, found {value!r}")


def _read_tuple(hint: Any, value: Sequence, where: str) -> tuple:
    kinds = typing.get_args(hint)
    if kinds[-1] is not Ellipsis and len(kinds) != len(value):
        raise ValueError(f"{where}: expected {len(kinds)} values, found {list(value)!r}")
    kinds = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
    return tuple(_read(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))


def _fits(kind: type, value: object) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(value) for value in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind))
