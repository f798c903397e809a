"""`r3jax.json`: the chat format stored beside a model's weights.

Training, evaluation and inference read it from the model directory, so that a model is always
asked in the format, and at the image size, that it was trained with.
"""

import dataclasses
import json
import pathlib

from r3jax import config, paths
from r3jax.data.chat import ChatFormat

FILE_NAME = "r3jax.json"


def save_chat(chat: ChatFormat, directory: str | pathlib.Path) -> pathlib.Path:
    """Write the chat format into a model directory; returns the file's path."""
    path = paths.of(directory) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_text(chat), "utf-8")
    return path


def to_text(chat: ChatFormat) -> str:
    """What the file says of a chat format."""
    return json.dumps(dataclasses.asdict(chat), indent=2, ensure_ascii=False) + "\n"


def load_chat(directory: str | pathlib.Path) -> ChatFormat:
    """Read the chat format of a model directory.

    FileNotFoundError where there is none; ValueError naming file and field where a field is
    unknown, missing or of the wrong type.
    """
    path = paths.of(directory) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: write one with chat_file.save_chat, or give a chat format"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return config.build(ChatFormat, values, str(path), strict=True)
