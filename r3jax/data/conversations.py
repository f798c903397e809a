"""Conversations as Qwen-VL is fine-tuned on, read as the rows of `vlir`.

    {"image": "a.png",                                   or a list; "images" as well
     "conversations": [{"from": "human", "value": "<image>\\nWhat number?"},
                       {"from": "gpt", "value": "... <answer>7</answer>"}]}

or `messages` with `role` and `content`, a text or a list of texts and images. One question with one
image is taken. Crops are further images: at `<image>` inside the reply, or each as a turn of its
own between two parts of the reply; the text before each must end with its box.

Source: the data format of the published Qwen2.5-VL fine-tuning code.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from r3jax.data.json_rows import RowError

MARK = "<image>"
_ROLES = {"human": "user", "gpt": "assistant"}
_TURNS = ("conversations", "messages")


def is_conversation(row: Mapping) -> bool:
    """Whether a row is written like that."""
    return any(name in row for name in _TURNS)


def as_trace(row: Mapping, where: str) -> dict[str, Any]:
    """The conversation as the row of an SFT file (`vlir.sft_row`); what the system said is a tag.

    Raises: RowError for one that is no single question about one image.
    """
    images: list[str] = _images_of(row, where)
    turns = [_turn(turn, images, where) for turn in _turns_of(row, where)]
    said = turns.pop(0)[1] if turns and turns[0][0] == "system" else ""
    if [role for role, _ in turns] != ["user", "assistant"] * (len(turns) // 2) or not turns:
        roles = ", ".join(role for role, _ in turns) or "none"
        raise RowError(f"{where}: expected turns of user and assistant, found {roles}", "turns")
    question, segments = _question(turns[0][1], where), [turns[1][1]]
    for (_, asked), (_, reply) in zip(turns[2::2], turns[3::2]):
        if asked.strip() != MARK:
            told = f"expected a crop alone as a further turn of the user, found {asked[:60]!r}"
            raise RowError(f"{where}: {told}; make a row of each question", "several questions")
        segments += [reply]
    # A crop inside a reply is a crop between two parts of it.
    segments = [part for reply in segments for part in reply.split(MARK)]
    if len(images) != len(segments):
        raise RowError(
            f"{where}: expected {len(segments)} images, that of the question and one at each "
            f"further {MARK}, found {len(images)}",
            "number of images",
        )
    if segments[-1].strip() == "" and len(segments) > 1:
        segments.pop()
    made = {
        "image_path": images[0],
        "question": question,
        "response_list": segments,
        "img_crop_list": images[1:],
        "tags": {"system": said} if said else {},
    }
    return made | ({"id": str(row["id"])} if "id" in row else {})


def _images_of(row: Mapping, where: str) -> list[str]:
    """The images that stand beside the turns."""
    value = row.get("image", row.get("images", []))
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RowError(
            f"{where}: expected names of images as 'image', found {value!r:.80}", "wrong type"
        )
    return list(names)


def _turns_of(row: Mapping, where: str) -> Sequence[Mapping]:
    name = next(name for name in _TURNS if name in row)
    turns = row[name]
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise RowError(f"{where}: expected a list of objects as '{name}'", "wrong type")
    return turns


def _turn(turn: Mapping, images: list[str], where: str) -> tuple[str, str]:
    """Who speaks, and the text; an image in it is a mark, its name is added to `images`."""
    role = turn.get("from", turn.get("role"))
    content = turn.get("value", turn.get("content"))
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(role, str) or not isinstance(parts, list):
        raise RowError(
            f"{where}: expected turns with role and text, found {turn!r:.80}", "wrong type"
        )
    text = ""
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        value = part.get(kind) if kind in ("text", "image") else None
        if not isinstance(value, str):
            raise RowError(f"{where}: expected texts and images, found {part!r:.80}", "wrong type")
        text += value if kind == "text" else MARK
        images += [value] if kind == "image" else []
    return _ROLES.get(role, role), text


def _question(text: str, where: str) -> str:
    """The question without the mark of its image."""
    if text.count(MARK) > 1:
        raise RowError(
            f"{where}: the question shows several images, expected one", "several images"
        )
    return re.sub(rf"\s*{MARK}\s*", " ", text).strip()
