"""The looks of a trace, taken again from its texts."""

import numpy as np

from r3jax.data import chat, frames, looks, traces, vlir
from r3jax.data.json_rows import RowError
from r3jax.records import Episode, Look, Stop

RULES = chat.ChatFormat().look_rules
"""How crops of VLIR are cut: as the default chat format says."""
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def frame_of(where: str, height: int, width: int, boxes_in: frames.PixelBounds) -> frames.Frame:
    """The frame of an original of this size. RowError where no model can be shown it."""
    try:
        return frames.Frame.fit(height, width, boxes_in)
    except ValueError as error:
        raise RowError(f"{where}: {error}", "image shape") from error


def take_looks(
    row: vlir.SftRow | traces.Trace, frame: frames.Frame, image: np.ndarray = _NO_PIXELS
) -> tuple[Look, ...]:
    """The looks that a trace's boxes ask for, in pixels of `frame`.

    Crops are cut from `image` when somebody asks for them; without it, nobody may. RowError where a
    text that a crop follows does not end with a box, or its box gives no crop.
    """
    taken: list[Look] = []
    for place, text in enumerate(row.segments[: row.num_crops]):
        text = traces.up_to_box(text, place, row.where)
        look = looks.take_look(text, image, frame, taken, RULES)
        traces.check_look(look, place, row.where)
        taken.append(look)
    return tuple(taken)


def as_episode(segments: tuple[str, ...], taken: tuple[Look, ...]) -> Episode:
    """A trace as pages show it: without tokens."""
    text, none = "".join(segments), np.empty(0, np.int8)
    answer = chat.answer_in(text)
    stop = Stop.END if answer is None else Stop.ANSWER
    return Episode(none, none, np.empty((3, 0), np.int32), none, taken, stop, text, answer)
