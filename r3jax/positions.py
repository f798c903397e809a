"""M-RoPE positions: text advances on all three axes, an image spreads over height and width.

Worked example, two words, an image of 2x3 tokens, one word:

    time    0 1 | 2 2 2 2 2 2 | 5
    height  0 1 | 2 2 2 3 3 3 | 5
    width   0 1 | 2 3 4 2 3 4 | 5

After an image, text goes on at its start plus the larger side (2 + 3 = 5).
Source: Transformers' get_rope_index for images (a still image has one frame).
"""

from collections.abc import Sequence

import numpy as np


def text_positions(start: int, length: int) -> tuple[np.ndarray, int]:
    """Returns int32 [3, length] from `start` on, and the next free position."""
    positions = np.broadcast_to(np.arange(start, start + length, dtype=np.int32), (3, length))
    return positions, start + length


def image_positions(start: int, rows: int, columns: int) -> tuple[np.ndarray, int]:
    """Returns int32 [3, rows * columns] of an image's tokens in raster order, and what follows."""
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int32), columns)
    return np.stack([np.full_like(row, start), start + row, start + column]), start + max(
        rows, columns
    )


def rope_index(
    tokens: np.ndarray, grids: Sequence[tuple[int, int]], image_token_id: int, start: int = 0
) -> tuple[np.ndarray, int]:
    """Returns positions int32 [3, T] of a token sequence and the position that follows it.

    `grids` are (rows, columns) in tokens of the images, in order. Raises ValueError when the image
    tokens are not exactly those that the grids call for.

    >>> rope_index(np.array([5, 9, 9, 7]), [(1, 2)], image_token_id=9)[0].tolist()
    [[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3]]
    """
    tokens = np.asarray(tokens)
    is_image = tokens == image_token_id
    expected = sum(rows * columns for rows, columns in grids)
    if is_image.sum() != expected:
        raise ValueError(
            f"{len(grids)} images need {expected} image tokens, the sequence has {is_image.sum()}"
        )
    parts, at, current = [], 0, start
    for rows, columns in grids:
        begin = at + int(np.argmax(is_image[at:]))
        if not is_image[begin : begin + rows * columns].all():
            raise ValueError(f"the {rows}x{columns} tokens of an image at {begin} are not in a row")
        text, current = text_positions(current, begin - at)
        image, current = image_positions(current, rows, columns)
        parts += [text, image]
        at = begin + rows * columns
    text, current = text_positions(current, len(tokens) - at)
    return np.concatenate([*parts, text], axis=1).astype(np.int32), current
