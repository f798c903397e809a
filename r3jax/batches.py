"""From records to the padded arrays that jitted programs take: prompts, suffixes and their images.

The last prompt token is left out of the prefix and starts every suffix instead: the suffix's
inputs are [last prompt token, tokens...], its targets the tokens themselves. So a prefill needs no
logits, and the first sampled token is predicted like any other.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from r3jax import buckets as buckets_lib
from r3jax import hosts, patches
from r3jax.arrays import Array
from r3jax.buckets import Buckets, ImageBucket
from r3jax.patches import VisionBatch
from r3jax.records import Episode, Prompt, Source

NO_FEATURE = -1
Rows = TypeVar("Rows", bound=tuple)  # a named tuple of arrays whose first axis are rows


class PromptBatch(NamedTuple):
    """Prompts without their last token, padded at the end.

    tokens int32 [B, P]; positions int32 [3, B, P]; mask bool [B, P]; feature_index int32 [B, P],
    -1 for words.
    """

    tokens: Array
    positions: Array
    mask: Array
    feature_index: Array


class SuffixBatch(NamedTuple):
    """Episodes after the prompts of a `PromptBatch`, padded at the end.

    inputs, targets int32 [B, G, T]; positions int32 [3, B, G, T] and feature_index int32
    [B, G, T] of the inputs; valid bool [B, G, T]: not padding; trained bool [B, G, T]: the target
    was SAMPLED; logp_sampled float32 [B, G, T] of the targets.
    """

    inputs: Array
    targets: Array
    positions: Array
    feature_index: Array
    valid: Array
    trained: Array
    logp_sampled: Array


def empty_prompts(groups: int, length: int) -> PromptBatch:
    """Prompts of padding alone."""
    shape = (groups, length)
    return PromptBatch(
        tokens=np.zeros(shape, np.int32),
        positions=np.zeros((3, *shape), np.int32),
        mask=np.zeros(shape, bool),
        feature_index=np.full(shape, NO_FEATURE, np.int32),
    )


def empty_suffixes(groups: int, episodes: int, length: int) -> SuffixBatch:
    """Episodes of padding alone."""
    shape = (groups, episodes, length)
    return SuffixBatch(
        inputs=np.zeros(shape, np.int32),
        targets=np.zeros(shape, np.int32),
        positions=np.zeros((3, *shape), np.int32),
        feature_index=np.full(shape, NO_FEATURE, np.int32),
        valid=np.zeros(shape, bool),
        trained=np.zeros(shape, bool),
        logp_sampled=np.zeros(shape, np.float32),
    )


def empty_images(bucket: ImageBucket) -> VisionBatch:
    """Rows of images with nothing in them."""
    return patches.arrange([], [], bucket.rows, bucket.windows, bucket.slots)[0]


def pack_images(
    images: Sequence[np.ndarray], choices: Sequence[ImageBucket], what: str
) -> tuple[VisionBatch, list[np.ndarray]]:
    """Arranges resized images into the smallest bucket that takes them.

    Equal images are stored once. Returns the batch and each image's feature indices.
    """
    (packed,) = pack_rows([images], choices, what)
    return packed


def pack_rows(
    rows: Sequence[Sequence[np.ndarray]], choices: Sequence[ImageBucket], what: str
) -> list[tuple[VisionBatch, list[np.ndarray]]]:
    """As `pack_images`, for each of several rows in the smallest bucket that takes any of them."""
    order, distinct = [], []
    for images in rows:
        unique: dict[tuple, int] = {}
        order.append([unique.setdefault((i.shape, i.tobytes()), len(unique)) for i in images])
        distinct.append([images[order[-1].index(number)] for number in range(len(unique))])
    grids = [[patches.merged_grid(image.shape) for image in images] for images in distinct]
    bucket = choose_images(grids, choices, what)
    packed = []
    for images, their_grids, numbers in zip(distinct, grids, order):
        flat = [patches.patchify(image) for image in images]
        batch, index = patches.arrange(flat, their_grids, bucket.rows, bucket.windows, bucket.slots)
        packed.append((batch, [index[number] for number in numbers]))
    return packed


def pack_parts(
    parts: Sequence[Sequence[np.ndarray]], choices: Sequence[ImageBucket], what: str
) -> tuple[VisionBatch, list[list[np.ndarray]]]:
    """As `pack_rows`, joined: each part has rows of its own, and indices that count from them."""
    packed, index = zip(*pack_rows(parts, choices, what))
    return join_rows(packed), list(index)


def join_rows(packed: Sequence[Rows]) -> Rows:
    """Batches of equal shapes as one, the rows of each after those of the one before."""
    return type(packed[0])(*(np.concatenate(arrays) for arrays in zip(*packed)))


def choose_images(
    rows: Sequence[Sequence[tuple[int, int]]], choices: Sequence[ImageBucket], what: str
) -> ImageBucket:
    """The smallest bucket that takes images of these tokens (rows, columns), in this order; of
    several rows of images, each by itself. It takes those of all hosts.

    Raises: ValueError where none does, naming `what` it was for.
    """
    shapes = [[patches.window_shape(*grid) for grid in grids] for grids in rows]
    windows = [[count for count, _ in row] for row in shapes]
    slots = [max((slots for _, slots in row), default=0) for row in shapes]
    ordered = sorted(choices, key=lambda bucket: bucket.features)
    here = [all(bucket.holds(*one) for one in zip(windows, slots)) for bucket in ordered]
    for bucket, holds in zip(ordered, hosts.all_hold(what, here)):
        if holds:
            return bucket
    if any(here):
        raise ValueError(
            f"{what}: the bucket that images of this host fit does not hold those of another, of "
            f"{list(map(str, ordered))}: add one for all, of the size that its message says"
        )
    most = max(windows, key=sum)
    raise ValueError(
        f"{what}: {len(most)} images of {sum(most)} windows with up to {max(slots)} patches fit no "
        f"bucket of {list(map(str, choices))}: add a larger image bucket, or lower the "
        "pixel bounds"
    )


def join_by_owner(counts: Sequence[int], index: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Joins the feature indices of images, in order, for owners that have so many images each."""
    taken = iter(index)
    nothing = np.zeros(0, np.int32)
    return [np.concatenate([nothing, *(next(taken) for _ in range(n))]) for n in counts]


def prompt_bucket(prompts: Sequence[Prompt], buckets: Buckets) -> int:
    """The length that these prompts are padded to. Raises ValueError where no bucket holds them."""
    longest = max((len(prompt.tokens) - 1 for prompt in prompts), default=0)
    return buckets_lib.choose(buckets.prompt_tokens, longest, "prompt_tokens")


def pad_prompts(
    prompts: Sequence[Prompt],
    features: Sequence[np.ndarray],
    length: int,
    image_token_id: int,
    rows: int | None = None,
) -> PromptBatch:
    """Pads prompts to a length; `features` number the image tokens of each, int [I].

    Of more `rows` than prompts (None: as many) the rest are one token of padding.
    """
    rows = len(prompts) if rows is None else rows
    batch = empty_prompts(rows, length)
    batch.mask[len(prompts) :, 0] = True  # attention to nothing is not a number
    for row, prompt in enumerate(prompts):
        n = len(prompt.tokens) - 1
        batch.tokens[row, :n] = prompt.tokens[:n]
        batch.positions[:, row, :n] = prompt.positions[:, :n]
        batch.mask[row, :n] = True
        batch.feature_index[row, :n][prompt.tokens[:n] == image_token_id] = features[row]
    return batch


def pad_suffixes(
    prompts: Sequence[Prompt],
    episodes: Sequence[Sequence[Episode]],
    features: Sequence[Sequence[np.ndarray]],
    buckets: Buckets,
) -> SuffixBatch:
    """Pads the episodes of each prompt to a bucket; `features` number their image tokens."""
    longest = max(len(episode.tokens) for group in episodes for episode in group)
    length = buckets_lib.choose(buckets.suffix_tokens, longest, "suffix_tokens")
    batch = empty_suffixes(len(prompts), len(episodes[0]), length)
    for b, (prompt, group) in enumerate(zip(prompts, episodes, strict=True)):
        for g, episode in enumerate(group):
            _fill_suffix(batch, (b, g), prompt, episode, features[b][g])
    return batch


def _fill_suffix(
    batch: SuffixBatch,
    row: tuple[int, int],
    prompt: Prompt,
    episode: Episode,
    features: np.ndarray,
) -> None:
    n = len(episode.tokens)
    batch.inputs[row][0] = prompt.tokens[-1]
    batch.inputs[row][1:n] = episode.tokens[:-1]
    batch.targets[row][:n] = episode.tokens
    positions = np.concatenate([prompt.positions[:, -1:], episode.positions[:, :-1]], axis=1)
    batch.positions[(slice(None), *row, slice(0, n))] = positions
    batch.valid[row][:n] = True
    batch.trained[row][:n] = episode.source == Source.SAMPLED
    batch.logp_sampled[row][:n] = episode.logp
    # The last token is a target only; an episode may have been cut off within a crop.
    is_image = np.flatnonzero(episode.source[:-1] == Source.IMAGE) + 1
    batch.feature_index[row][is_image] = features[: len(is_image)]
