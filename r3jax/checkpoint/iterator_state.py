"""The data iterator's place in a checkpoint: one small file a process, written by Orbax.

Every process of a pod reads its own share of the data, so each saves its own state, under the
file names that Grain's own handler uses. A state is what Grain's `get_state()` returns: a dict of
JSON values, or bytes.
"""

import base64
import dataclasses
import json
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from r3jax.checkpoint.errors import CheckpointError

IteratorState = bytes | dict[str, Any] | None


class IteratorStateHandler(ocp.CheckpointHandler):
    """Writes and reads the state of this process."""

    def save(self, directory: epath.Path, args: "IteratorStateSave") -> None:
        _file(directory).write_text(encode(args.state))

    def restore(self, directory: epath.Path, args: "IteratorStateRestore") -> IteratorState:
        file = _file(directory)
        if not file.exists():
            held = sorted(path.name for path in directory.iterdir())
            raise CheckpointError(
                f"{directory} has no {file.name}: the checkpoint was saved by another number of "
                f"processes ({', '.join(held)}), and the data iterator can only go on with as many"
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


def _file(directory: epath.Path) -> epath.Path:
    return directory / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
