"""The data iterator's place in a checkpoint: one small file, written by Orbax.

Hosts share batches, so their iterators are at the same place: the first host writes it, and any
number of hosts can go on from there. A state is what Grain's `get_state()` returns: a dict of JSON
values, or bytes.
"""

import base64
import dataclasses
import json
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from r3jax import hosts
from r3jax.checkpoint.errors import CheckpointError

IteratorState = bytes | dict[str, Any] | None
FILE_NAME = "iterator.json"


class IteratorStateHandler(ocp.CheckpointHandler):
    """Writes and reads the state of an iterator."""

    def save(self, directory: epath.Path, args: "IteratorStateSave") -> None:
        if hosts.leads():
            (directory / FILE_NAME).write_text(encode(args.state))

    def restore(self, directory: epath.Path, args: "IteratorStateRestore") -> IteratorState:
        file = directory / FILE_NAME
        if not file.exists():
            raise CheckpointError(
                f"{directory} has no {FILE_NAME}: the checkpoint is damaged, or of another version"
            )
        return decode(file.read_text())


@ocp.args.register_with_handler(IteratorStateHandler, for_save=True)
@dataclasses.dataclass
class IteratorStateSave(ocp.args.CheckpointArgs):
    """What to save."""

    state: IteratorState


@ocp.args.register_with_handler(IteratorStateHandler, for_restore=True)
@dataclasses.dataclass
class IteratorStateRestore(ocp.args.CheckpointArgs):
    """Asks for the state; there is nothing to say about it."""


def encode(state: IteratorState) -> str:
    """Returns a state as JSON text; `decode` gives it back exactly.

    >>> decode(encode(b"\\x00\\xff"))
    b'\\x00\\xff'
    """
    if isinstance(state, bytes):
        return json.dumps({"bytes": base64.b64encode(state).decode()})
    return json.dumps({"json": state})


def decode(text: str) -> IteratorState:
    """Returns the state that `encode` was given."""
    entry = json.loads(text)
    return base64.b64decode(entry["bytes"]) if "bytes" in entry else entry["json"]
