"""From records to an `UpdateBatch`: scored groups for R-GRPO, teacher episodes for SFT."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from r3jax import batches, hosts, shares
from r3jax import buckets as buckets_lib
from r3jax.batches import PromptBatch, SuffixBatch
from r3jax.buckets import Buckets
from r3jax.model.stream import Stream, lay_out
from r3jax.records import Episode, Prompt, ScoredGroup
from r3jax.shares import Share
from r3jax.update import objective, pictures
from r3jax.update.losses import UpdateBatch

T = TypeVar("T")


def pack_scored(
    scored: Sequence[ScoredGroup],
    buckets: Buckets,
    image_token_id: int,
    scale_by_std: bool,
    rows: int = 1,
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
        rows,
    )


def pack_taught(
    prompts: Sequence[Prompt],
    episodes: Sequence[Episode],
    buckets: Buckets,
    image_token_id: int,
    rows: int = 1,
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
        rows,
    )


def pack(
    prompts: Sequence[Prompt],
    episodes: Sequence[Sequence[Episode]],
    advantage: np.ndarray,
    counted: np.ndarray,
    buckets: Buckets,
    image_token_id: int,
    rows: int = 1,
) -> UpdateBatch:
    """Packs prompts and the episodes of each, with advantage float32 and counted bool [B, G].

    Groups lie in `rows` of a stream, in order; each row has all that its groups need, so that it
    can be computed on a device of its own. Features that the rollout kept are taken as they are;
    else images and crops are to be encoded.
    Raises: ValueError where only some prompts have features, no bucket is large enough, or `rows`
    does not divide B.
    """
    if len(prompts) % rows:
        raise ValueError(f"{len(prompts)} groups cannot be dealt to {rows} rows of a stream")
    length = batches.prompt_bucket(prompts, buckets)
    seen = pictures.number(prompts, episodes, buckets, rows)
    prompt = batches.pad_prompts(prompts, seen.of_prompts, length, image_token_id)
    suffix = batches.pad_suffixes(prompts, episodes, seen.of_episodes, buckets)
    stream = pack_stream(prompt, suffix, buckets, rows)
    shown = pictures.show(seen, stream.place.shape[1])
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


def as_one_step(
    micro_batches: Sequence[UpdateBatch], share: Share = shares.ALL
) -> list[UpdateBatch]:
    """Gives micro-batches, of which this host has a share, the totals of all of them, so that their
    losses add up to the step's."""
    counted = (one.suffix.trained & one.counted[..., None] for one in micro_batches)
    counts = hosts.gather("what is trained", objective.count(*counted))
    totals = objective.added(share.one_of_each(counts))
    return [one._replace(totals=totals) for one in micro_batches]


def pack_stream(
    prompt: PromptBatch, suffix: SuffixBatch, buckets: Buckets, rows: int = 1
) -> Stream:
    """Lays prompts and suffixes out in the shortest rows of the buckets that hold them."""
    lengths = prompt.mask.sum(1), suffix.valid.sum(2)
    sizes = buckets.stream_tokens((prompt.mask.size + suffix.valid.size) // rows)
    filled = sum(n.reshape(rows, -1).sum(1) for n in lengths)
    size = buckets_lib.choose(sizes, int(filled.max()), "stream_tokens")
    return lay_out(*lengths, prompt.mask.shape[1], suffix.valid.shape[2], size, rows)
