"""From records to an `UpdateBatch`: scored groups for R-GRPO, teacher episodes for SFT."""

from collections.abc import Sequence

import numpy as np

from r3jax import batches
from r3jax.buckets import Buckets
from r3jax.records import Episode, Prompt, ScoredGroup
from r3jax.update import objective
from r3jax.update.steps import UpdateBatch


def pack_scored(
    scored: Sequence[ScoredGroup], buckets: Buckets, image_token_id: int, scale_by_std: bool
) -> UpdateBatch:
    """Packs groups with their advantages; every group has the same number of episodes."""
    reward = np.stack([one.reward for one in scored])
    counted = np.stack([one.counted for one in scored])
    return _pack(
        [one.group.prompt for one in scored],
        [one.group.episodes for one in scored],
        objective.group_advantages(reward, counted, scale_by_std),
        counted,
        buckets,
        image_token_id,
    )


def pack_taught(
    prompts: Sequence[Prompt], episodes: Sequence[Episode], buckets: Buckets, image_token_id: int
) -> UpdateBatch:
    """Packs one teacher's episode a prompt."""
    shape = (len(prompts), 1)
    return _pack(
        prompts,
        [(episode,) for episode in episodes],
        np.zeros(shape, np.float32),
        np.ones(shape, bool),
        buckets,
        image_token_id,
    )


def _pack(prompts, episodes, advantage, counted, buckets, image_token_id) -> UpdateBatch:
    prompt, images = batches.pack_prompts(prompts, buckets, image_token_id)
    rows, windows, slots = images.segment.shape
    first_crop = rows * windows * slots // 4
    suffix, crops = batches.pack_suffixes(prompts, episodes, buckets, first_crop)
    return UpdateBatch(prompt, images, suffix, crops, advantage, counted)
