"""`r3jax.json`: the chat format stored beside a model's weights.

Training, evaluation and inference read it from the model directory, so that a model is always
asked in the format, and at the image size, that it was trained with.
"""

import dataclasses
import difflib
import json
import pathlib
import types
import typing
from collections.abc import Mapping

from r3jax.data.chat import ChatFormat

FILE_NAME = "r3jax.json"


def save_chat(chat: ChatFormat, directory: str | pathlib.Path) -> pathlib.Path:
    """Write the chat format into a model directory; returns the file's path."""
    path = pathlib.Path(directory) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(chat), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")
    return path


def load_chat(directory: str | pathlib.Path) -> ChatFormat:
    """Read the chat format of a model directory.

    FileNotFoundError where there is none; ValueError naming file and field where a field is
    unknown, missing or of the wrong type.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: write one with chat_file.save_chat, or give a chat format"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return _build(ChatFormat, values, str(path))


def _build(record: type, values: object, where: str) -> typing.Any:
    """Make a dataclass from a JSON object, checking names and types; `where` names it in errors."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a JSON object, found {type(values).__name__}")
    hints = typing.get_type_hints(record)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)[0]
            raise ValueError(f"{where}: unknown field {name!r}; the nearest known one is {near!r}")
    missing = [name for name in hints if name not in values]
    if missing:
        raise ValueError(f"{where}: missing field {', '.join(missing)}")
    read = {name: _read(hint, values[name], f"{where}: {name}") for name, hint in hints.items()}
    try:
        return record(**read)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read(hint: typing.Any, value: object, where: str) -> object:
    """Check one value against its annotation: a record, str, int, float or str | None."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    fits = isinstance(value, int | float) if float in allowed else isinstance(value, allowed)
    if not fits or isinstance(value, bool):
        names = " or ".join("null" if k is types.NoneType else k.__name__ for k in allowed)
        raise ValueError(f"{where}: expected {names}, found {value!r}")
    return value
