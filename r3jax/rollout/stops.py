"""Where decoding pauses: at a closed box and at `</answer>`, seen token by token on the device.

A small automaton over bytes recognises both in the text of an episode; `build` lifts it to tokens,
so that one table look-up a token follows the text without ever decoding it. A box is the object
`{"bbox_2d": ...}` up to its first `}`, whatever stands between: other JSON and LaTeX do not stop,
a box with more keys does.

Worked example (states of the byte automaton, "…" inside the box, "!" a stop):

    x { "bbox_2d": [1, 2, 3, 4] }
    . { 1.......9………………………………… !
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

BOX_KEY = b'"bbox_2d"'
ANSWER_END = b"</answer>"
SPACE = b" \n\r\t"

START = 0
BOX_CLOSED = 1
ANSWER_CLOSED = 2


@dataclasses.dataclass(frozen=True)
class StopTable:
    """next_state int16 [states, V]: the state after a token; 1 and 2 are the stops."""

    next_state: np.ndarray


@functools.cache
def byte_table() -> np.ndarray:
    """Returns the automaton over bytes, int16 [states, 256].

    A state is START, a stop, "inside a box", "after { and spaces", or how much of the box key or
    of `</answer>` has been read. Stops are final.
    """
    states: dict[tuple[str, int], int] = {("start", 0): START, ("box", 0): BOX_CLOSED}
    states[("answer", 0)] = ANSWER_CLOSED
    partial = [("key", i) for i in range(1, len(BOX_KEY))]
    partial += [("end", i) for i in range(1, len(ANSWER_END))]
    for state in [("brace", 0), ("inside", 0), *partial]:
        states[state] = len(states)
    table = np.zeros((len(states), 256), np.int16)
    for state, number in states.items():
        for byte in range(256):
            table[number, byte] = states[_after(state, byte)]
    return table


def _after(state: tuple[str, int], byte: int) -> tuple[str, int]:
    name, i = state
    if name in ("box", "answer"):
        return state
    if name == "inside":
        return ("box", 0) if byte == ord("}") else state
    if name == "brace":
        if byte in SPACE:
            return state
        if byte == BOX_KEY[0]:
            return ("key", 1)
    if name == "key" and byte == BOX_KEY[i]:
        return ("key", i + 1) if i + 1 < len(BOX_KEY) else ("inside", 0)
    if name == "end" and byte == ANSWER_END[i]:
        return ("end", i + 1) if i + 1 < len(ANSWER_END) else ("answer", 0)
    # Both patterns begin with a byte that occurs nowhere else in them, so nothing is lost by
    # starting over.
    if byte == ord("{"):
        return ("brace", 0)
    if byte == ANSWER_END[0]:
        return ("end", 1)
    return ("start", 0)


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
