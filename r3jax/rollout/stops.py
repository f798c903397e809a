"""Where decoding pauses: at a closed box and at `</answer>`, seen token by token on the device.

A small automaton over bytes recognises both in the text of an episode; `build` lifts it to tokens,
so that one table look-up a token follows the text without ever decoding it. A box is an object
with the key "bbox_2d", wherever it stands among other keys, up to the first `}` after it: other
JSON and LaTeX do not stop.

Worked example ("{" an open brace, digits how much of the key is read, "…" inside the box, "!" a
stop):

    x { "bbox_2d": [1, 2, 3, 4] }
    . {{12345678………………………………………… !
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BOX_KEY = b'"bbox_2d"'
ANSWER_END = b"</answer>"

START = 0
BOX_CLOSED = 1
ANSWER_CLOSED = 2


@dataclasses.dataclass(frozen=True)
class StopTable:
    """next_state int16 [states, V]: the state after a token; 1 and 2 are the stops."""

    next_state: np.ndarray


class _State(NamedTuple):
    """`name` of what is being read, how many bytes `read` of it, and whether a brace is `open`."""

    name: str
    read: int
    open: bool


_FIRST = (_State("text", 0, False), _State("box", 0, False), _State("answer", 0, False))


@functools.cache
def byte_table() -> np.ndarray:
    """Returns the automaton over bytes, int16 [states, 256]. START is 0; stops are final."""
    states = {state: number for number, state in enumerate(_FIRST)}
    waiting = list(_FIRST)
    edges = {}
    while waiting:
        state = waiting.pop()
        for byte in range(256):
            after = _after(state, byte)
            edges[state, byte] = after
            if after not in states:
                states[after] = len(states)
                waiting.append(after)
    table = np.zeros((len(states), 256), np.int16)
    for (state, byte), after in edges.items():
        table[states[state], byte] = states[after]
    return table


def _after(state: _State, byte: int) -> _State:
    name, read, is_open = state
    if name in ("box", "answer"):
        return state
    if name == "inside":
        return _State("box", 0, False) if byte == ord("}") else state
    if name == "key" and byte == BOX_KEY[read]:
        done = read + 1 == len(BOX_KEY)
        return _State("inside", 0, True) if done else _State("key", read + 1, True)
    if name == "end" and byte == ANSWER_END[read]:
        done = read + 1 == len(ANSWER_END)
        return _State("answer", 0, False) if done else _State("end", read + 1, is_open)
    # Neither pattern holds its own first byte before its end: nothing is lost by starting over.
    if byte in b"{}":
        return _State("text", 0, byte == ord("{"))
    if byte == BOX_KEY[0] and is_open:
        return _State("key", 1, True)
    if byte == ANSWER_END[0]:
        return _State("end", 1, is_open)
    return _State("text", 0, is_open)


def build(token_bytes: Sequence[bytes], vocab_size: int) -> StopTable:
    """Lifts the automaton to tokens: `token_bytes[i]` is the text of token i, empty for specials.

    A token that runs on after a stop still stops. Ids from len(token_bytes) to vocab_size (padding
    of the embedding table) change nothing.
    """
    table = byte_table()
    states = np.arange(len(table), dtype=np.int16)
    next_state = np.repeat(states[:, None], vocab_size, axis=1)
    for token, text in enumerate(token_bytes):
        after = states
        for byte in text:
            after = table[after, byte]
        next_state[:, token] = after
    return StopTable(next_state)
