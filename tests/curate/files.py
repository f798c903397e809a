"""Files of rows for tests: a small world of drawn pictures, whole and spoilt."""

import copy
import functools
import json
import pathlib
import shutil
import tempfile

from r3jax.data.world import files


@functools.cache
def drawn() -> pathlib.Path:
    """A world of twelve traces and twelve questions."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r3jax-world-"))
    files.write_world(folder, 3, {"sft": 12, "rl": 12})
    return folder


def world(folder: pathlib.Path) -> list[dict]:
    """Copies that world into a folder; returns its traces, without what the world adds."""
    shutil.copytree(drawn(), folder, dirs_exist_ok=True)
    rows = json.loads((folder / "sft.json").read_text())
    return [{key: value for key, value in row.items() if key != "train_list"} for row in rows]


def changed(row: dict, **values) -> dict:
    """A row with other values."""
    return {**copy.deepcopy(row), **values}


def as_conversation(row: dict) -> dict:
    """A trace as Qwen-VL is fine-tuned on it: crops where the reply has marks."""
    turns = [
        ("human", f"<image>\n{row['question']}"),
        ("gpt", "<image>".join(row["response_list"])),
    ]
    return {
        "id": row["id"],
        "image": [row["image_path"], *row["img_crop_list"]],
        "conversations": [{"from": who, "value": text} for who, text in turns],
    }


def as_messages(row: dict) -> dict:
    """The same as messages: each crop is a turn of the user."""
    names = [row["image_path"], *row["img_crop_list"]]
    asked = [{"type": "text", "text": row["question"]}]
    messages = [{"role": "system", "content": "Look."}]
    for name, reply in zip(names, row["response_list"], strict=True):
        messages.append({"role": "user", "content": [{"type": "image", "image": name}, *asked]})
        messages.append({"role": "assistant", "content": reply})
        asked = []
    return {"messages": messages}
