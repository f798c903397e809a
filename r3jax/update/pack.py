"""From records to an `UpdateBatch`: scored groups for R-GRPO, teacher episodes for SFT."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from r3jax import batches
from r3jax import buckets as buckets_lib
from r3jax.batches import PromptBatch, SuffixBatch
from r3jax.buckets import Buckets
from r3jax.model.stream import Stream, lay_out
from r3jax.patches import UNIT, VisionBatch
from r3jax.records import Episode, LookOutcome, Prompt, ScoredGroup
from r3jax.update import objective
from r3jax.update.losses import UpdateBatch

T = TypeVar("T")


def pack_scored(
    scored: Sequence[ScoredGroup], buckets: Buckets, image_token_id: int, scale_by_std: bool
) -> UpdateBatch:
    """Packs groups with their advantages; every group has the same number of episodes."""
    reward = np.stack([one.reward for one in scored])
    counted = np.stack([one.counted for one in scored])
    return pack(
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
    return pack(
        prompts,
        [(episode,) for episode in episodes],
        np.zeros(shape, np.float32),
        np.ones(shape, bool),
        buckets,
        image_token_id,
    )


def pack(
    prompts: Sequence[Prompt],
    episodes: Sequence[Sequence[Episode]],
    advantage: np.ndarray,
    counted: np.ndarray,
    buckets: Buckets,
    image_token_id: int,
) -> UpdateBatch:
    """Packs prompts and the episodes of each, with advantage float32 and counted bool [B, G].

    Features that the rollout kept are taken as they are; else images and crops are to be encoded.
    Raises: ValueError where only some prompts have features, or no bucket is large enough.
    """
    keepers = sum(prompt.features is not None for prompt in prompts)
    if keepers not in (0, len(prompts)):
        raise ValueError(
            f"{keepers} of {len(prompts)} prompts have features: expected all of a batch or none, "
            "so collect all of its groups with the same Engine.keep_features"
        )
    kept = keepers > 0
    if kept:
        of_prompts, of_episodes, shown = _kept_features(prompts, episodes)
    else:
        of_prompts, of_episodes, shown = _images_to_encode(prompts, episodes, buckets)
    length = batches.prompt_bucket(prompts, buckets)
    prompt = batches.pad_prompts(prompts, of_prompts, length, image_token_id)
    suffix = batches.pad_suffixes(prompts, episodes, of_episodes, buckets)
    stream = pack_stream(prompt, suffix, buckets)
    if kept:  # no stream has more image tokens than tokens: the table needs no buckets of its own
        shown = np.pad(shown, [(0, stream.place.size - len(shown)), (0, 0)])
    totals = objective.totals(suffix.trained & counted[..., None])
    return UpdateBatch(prompt, suffix, stream, shown, advantage, counted, totals)


def deal(items: Sequence[T], size: int, length: Callable[[T], int]) -> list[Sequence[T]]:
    """Deals the items of a step to micro-batches of `size`, those alike in length together.

    Less of a micro-batch is padding then. `size` must divide their number; 0 means one for all.

    >>> deal(["aaa", "b", "cc", "d"], 2, len)
    [['b', 'd'], ['cc', 'aaa']]
    """
    if size in (0, len(items)):
        return [items]
    ordered = sorted(items, key=length)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def longest(scored: ScoredGroup) -> int:
    """How many tokens the longest episode of a group has."""
    return max(len(episode.tokens) for episode in scored.group.episodes)


def check_micro_batch(size: int, items: int, name: str) -> None:
    """Raises ValueError unless so many items, a config's `name`, divide into micro-batches."""
    if size < 0 or (size and items % size):
        raise ValueError(f"micro_batch must be 0 or divide {name} ({items}), found {size}")


def as_one_step(micro_batches: Sequence[UpdateBatch]) -> list[UpdateBatch]:
    """Gives micro-batches the totals of all of them, so that their losses add up to the step's."""
    totals = objective.totals(
        *(one.suffix.trained & one.counted[..., None] for one in micro_batches)
    )
    return [one._replace(totals=totals) for one in micro_batches]


Numbers = Sequence[np.ndarray]
"""Which rows of the table of features the image tokens of each owner show, int32 [I] each."""


def _kept_features(
    prompts: Sequence[Prompt], episodes: Sequence[Sequence[Episode]]
) -> tuple[Numbers, Sequence[Numbers], np.ndarray]:
    """Features that the rollout kept: their numbers by prompt and by episode, and the table."""
    table: list[np.ndarray] = []

    def add(features: Sequence[np.ndarray]) -> np.ndarray:
        first = sum(map(len, table))
        table.extend(features)
        return np.arange(first, first + sum(map(len, features)), dtype=np.int32)

    of_prompts = [add([prompt.features]) for prompt in prompts]

    def seen(episode: Episode) -> list[np.ndarray]:
        return [look.features for look in episode.looks if look.outcome is LookOutcome.OK]

    of_episodes = [[add(seen(episode)) for episode in one] for one in episodes]
    return of_prompts, of_episodes, np.concatenate(table)


def _images_to_encode(
    prompts: Sequence[Prompt], episodes: Sequence[Sequence[Episode]], buckets: Buckets
) -> tuple[Numbers, Sequence[Numbers], tuple[VisionBatch, VisionBatch]]:
    """Images and crops in buckets: the numbers of their features to be, and what to encode.

    The table will hold the prompts' features followed by the crops'.
    """
    images, index = batches.pack_images(
        [image for prompt in prompts for image in prompt.images], buckets.images, "prompt images"
    )
    of_prompts = batches.join_by_owner([len(prompt.images) for prompt in prompts], index)
    flat = [episode for group in episodes for episode in group]
    crops, index = batches.pack_images(
        [crop for episode in flat for crop in episode.crops], buckets.crops, "crops"
    )
    first = images.segment.size // UNIT
    joined = batches.join_by_owner([len(episode.crops) for episode in flat], index)
    of_flat = iter([numbers + first for numbers in joined])
    of_episodes = [[next(of_flat) for _ in group] for group in episodes]
    return of_prompts, of_episodes, (images, crops)


def pack_stream(prompt: PromptBatch, suffix: SuffixBatch, buckets: Buckets) -> Stream:
    """Lays prompts and suffixes out in the shortest stream of the buckets that holds them."""
    lengths = prompt.mask.sum(1), suffix.valid.sum(2)
    sizes = buckets.stream_tokens(prompt.mask.size + suffix.valid.size)
    size = buckets_lib.choose(sizes, sum(int(n.sum()) for n in lengths), "stream_tokens")
    return lay_out(*lengths, prompt.mask.shape[1], suffix.valid.shape[2], size)
