"""Arrays as Transformers' processor gives them, as the arrays that our model takes.

Rows come padded on either side; here every row starts at 0 and all are padded at the end to a
bucket, so that sequences of many lengths share few compilations.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from r3jax import patches, positions
from r3jax.batches import NO_FEATURE
from r3jax.model.config import ModelConfig
from r3jax.run.shapes import SMALLEST_TEXT, round_up

SLOTS = patches.UNIT * patches.WINDOW**2


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """The arguments of `Qwen25VL.__call__`, rows and lengths padded to buckets."""

    tokens: np.ndarray
    positions: np.ndarray
    mask: np.ndarray
    feature_index: np.ndarray
    images: patches.VisionBatch | None


def convert(
    config: ModelConfig,
    input_ids: np.ndarray,
    pixel_values: np.ndarray | None,
    image_grid_thw: np.ndarray | None,
    valid: np.ndarray,
) -> ModelInputs:
    """Arranges ids [B, T], patches [N, 1176] and grids [images, 3] for the model.

    `valid` bool [B, T] says which ids are no padding. Raises ValueError where ids, patches and
    grids do not belong together, saying how many of each there are and in which row.
    """
    grids = _merged_grids(image_grid_thw)
    cut = _cut(pixel_values, grids)
    rows = [ids[keep] for ids, keep in zip(input_ids, valid)]
    for number, row in enumerate(rows):
        _check_ids(number, row, config.text.vocab_size)
    shares = _share_out(rows, grids, config.image_token_id)
    shape = (round_up(len(rows)), round_up(max(map(len, rows)), SMALLEST_TEXT))
    made = ModelInputs(
        tokens=np.zeros(shape, np.int32),
        positions=np.zeros((3, *shape), np.int32),
        mask=np.zeros(shape, bool),
        feature_index=np.full(shape, NO_FEATURE, np.int32),
        images=None,
    )
    made.mask[:, 0] = True  # a row of padding attends to something: no division by zero
    images, index = _arrange(cut, grids) if grids else (None, [])
    taken = iter(index)
    for number, (row, share) in enumerate(zip(rows, shares)):
        n = len(row)
        made.tokens[number, :n], made.mask[number, :n] = row, True
        where, _ = positions.rope_index(row, share, config.image_token_id)
        made.positions[:, number, :n] = where
        if share:
            features = np.concatenate([next(taken) for _ in share])
            made.feature_index[number, :n][row == config.image_token_id] = features
    return dataclasses.replace(made, images=images)


def _check_ids(number: int, row: np.ndarray, vocab_size: int) -> None:
    if not len(row):
        raise ValueError(f"row {number} of input_ids is all padding: attention_mask has no 1 there")
    if row.min() < 0 or row.max() >= vocab_size:
        bad = row[(row < 0) | (row >= vocab_size)][0]
        raise ValueError(f"row {number} of input_ids has id {bad}, expected 0..{vocab_size - 1}")


def _merged_grids(image_grid_thw: np.ndarray | None) -> list[tuple[int, int]]:
    """Rows and columns of each image in tokens."""
    if image_grid_thw is None:
        return []
    grids = np.asarray(image_grid_thw)
    if grids.ndim != 2 or grids.shape[1] != 3 or not np.issubdtype(grids.dtype, np.integer):
        raise ValueError(
            f"image_grid_thw: expected int [images, 3], found {grids.dtype} {list(grids.shape)}"
        )
    for number, (frames, height, width) in enumerate(grids):
        if frames != 1 or min(height, width) < 1 or height % patches.MERGE or width % patches.MERGE:
            raise ValueError(
                f"image_grid_thw[{number}]: expected (1, even, even) for a still image, found "
                f"{(int(frames), int(height), int(width))}"
            )
    return [(int(h) // patches.MERGE, int(w) // patches.MERGE) for _, h, w in grids]


def _cut(pixel_values: np.ndarray | None, grids: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The patches of each image."""
    width = 3 * patches.TEMPORAL * patches.PATCH**2
    values = np.zeros((0, width)) if pixel_values is None else np.asarray(pixel_values)
    sizes = [rows * columns * patches.UNIT for rows, columns in grids]
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(
            f"pixel_values: expected float [patches, {width}], found {list(values.shape)}"
        )
    if len(values) != sum(sizes):
        raise ValueError(
            f"pixel_values has {len(values)} patches, the {len(grids)} images of image_grid_thw "
            f"need {sum(sizes)}: pass both as the processor returned them"
        )
    return np.split(values.astype(np.float32), np.cumsum(sizes)[:-1]) if grids else []


def _share_out(
    rows: Sequence[np.ndarray], grids: Sequence[tuple[int, int]], image_token_id: int
) -> list[list[tuple[int, int]]]:
    """The images of each row, taken in order until the row's image tokens are used up."""
    shares, first = [], 0
    for number, row in enumerate(rows):
        tokens, features, last = int((row == image_token_id).sum()), 0, first
        while features < tokens and last < len(grids):
            features += grids[last][0] * grids[last][1]
            last += 1
        if features != tokens:
            raise ValueError(
                f"row {number} of input_ids has {tokens} image tokens (id {image_token_id}), but "
                f"its images ({_span(first, last)}) give {features} features: the ids must hold "
                "height * width / 4 of them an image, as the processor writes, and must not be cut"
            )
        shares.append(list(grids[first:last]))
        first = last
    if first < len(grids):
        raise ValueError(
            f"image_grid_thw has {len(grids)} images, the image tokens (id {image_token_id}) of "
            f"the {len(rows)} rows of input_ids are those of {first}: {_span(first, len(grids))} "
            "belongs to no row"
        )
    return shares


def _span(first: int, last: int) -> str:
    if last <= first:
        return "none is left"
    return f"image {first}" if last == first + 1 else f"images {first} to {last - 1}"


def _arrange(
    cut: Sequence[np.ndarray], grids: Sequence[tuple[int, int]]
) -> tuple[patches.VisionBatch, list[np.ndarray]]:
    """Images in rows as long as the largest needs, as many rows as all need."""
    needed = [patches.window_shape(*grid)[0] for grid in grids]
    windows = round_up(max(needed))
    free: list[int] = []
    for count in needed:  # first fit, as patches.arrange does
        place = next((i for i, left in enumerate(free) if left >= count), len(free))
        free += [windows] if place == len(free) else []
        free[place] -= count
    return patches.arrange(cut, grids, round_up(len(free)), windows, SLOTS)
