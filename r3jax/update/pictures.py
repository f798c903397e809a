"""What the image tokens of packed groups show, and where each token finds its feature.

Every row of a stream has a table of features of its own, so that no device needs another's: of
those that a rollout kept, or of images and crops that the update is to encode.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from r3jax import batches
from r3jax.buckets import Buckets
from r3jax.patches import UNIT
from r3jax.records import Episode, LookOutcome, Prompt
from r3jax.update.forward import Shown


class Seen(NamedTuple):
    """Which rows of a table the image tokens of each prompt and each episode show, int32 [I] each;
    and, for each row of the stream, the table itself or what it is to be made of."""

    of_prompts: Sequence[np.ndarray]
    of_episodes: Sequence[Sequence[np.ndarray]]
    tables: Sequence[Any]


def number(
    prompts: Sequence[Prompt],
    episodes: Sequence[Sequence[Episode]],
    buckets: Buckets,
    rows: int,
) -> Seen:
    """Numbers the features of groups that lie in so many rows, in order.

    Raises: ValueError where only some prompts have features, or no bucket is large enough.
    """
    keepers = sum(prompt.features is not None for prompt in prompts)
    if keepers not in (0, len(prompts)):
        raise ValueError(
            f"{keepers} of {len(prompts)} prompts have features: expected all of a batch or none, "
            "so collect all of its groups with the same Engine.keep_features"
        )
    size = len(prompts) // rows
    parts = [slice(begin, begin + size) for begin in range(0, size * rows, size)]
    of_rows = [(prompts[part], episodes[part]) for part in parts]
    seen = [_kept(*row) for row in of_rows] if keepers else _to_encode(of_rows, buckets)
    together = ([of for row in side for of in row] for side in list(zip(*seen))[:2])
    return Seen(*together, [row.tables for row in seen])


def show(seen: Seen, tokens: int) -> Shown:
    """What a batch shows, for a stream whose rows have room for so many `tokens`.

    So has a table of kept features [R, F, D], which needs no buckets of its own.
    """
    if isinstance(seen.tables[0], tuple):
        return jax.tree.map(lambda *parts: np.concatenate(parts), *seen.tables)
    return np.stack([np.pad(table, [(0, tokens - len(table)), (0, 0)]) for table in seen.tables])


def _kept(prompts: Sequence[Prompt], episodes: Sequence[Sequence[Episode]]) -> Seen:
    """Of a row whose features the rollout kept: they are its table."""
    table: list[np.ndarray] = []

    def add(features: Sequence[np.ndarray]) -> np.ndarray:
        first = sum(map(len, table))
        table.extend(features)
        return np.arange(first, first + sum(map(len, features)), dtype=np.int32)

    def of_looks(episode: Episode) -> list[np.ndarray]:
        return [look.features for look in episode.looks if look.outcome is LookOutcome.OK]

    of_prompts = [add([prompt.features]) for prompt in prompts]
    of_episodes = [[add(of_looks(episode)) for episode in one] for one in episodes]
    return Seen(of_prompts, of_episodes, np.concatenate(table))


def _to_encode(
    rows: Sequence[tuple[Sequence[Prompt], Sequence[Sequence[Episode]]]], buckets: Buckets
) -> list[Seen]:
    """Of rows whose images and crops are to be encoded: in buckets that are the same for all rows.

    A table will hold the features of the prompts' images, followed by those of the crops.
    """
    flat = [[episode for group in episodes for episode in group] for _, episodes in rows]
    images = batches.pack_rows(
        [[image for prompt in prompts for image in prompt.images] for prompts, _ in rows],
        buckets.images,
        "prompt images",
    )
    crops = batches.pack_rows(
        [[crop for episode in row for crop in episode.crops] for row in flat],
        buckets.crops,
        "crops",
    )
    seen = []
    for (prompts, episodes), own, shown, cut in zip(rows, flat, images, crops):
        of_prompts = batches.join_by_owner([len(p.images) for p in prompts], shown[1])
        first = shown[0].segment.size // UNIT
        joined = batches.join_by_owner([len(e.crops) for e in own], cut[1])
        of_flat = iter([numbers + first for numbers in joined])
        of_episodes = [[next(of_flat) for _ in group] for group in episodes]
        seen.append(Seen(of_prompts, of_episodes, (shown[0], cut[0])))
    return seen
