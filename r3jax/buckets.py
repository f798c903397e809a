"""The few shapes that jitted programs see. A run compiles once for each bucket and never again."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class ImageBucket:
    """Rows of images: how many windows a row has, and patches a window."""

    rows: int
    windows: int
    slots: int

    @property
    def features(self) -> int:
        """How many features the vision tower gives for such a batch."""
        return self.rows * self.windows * self.slots // 4


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Every static size of a run, smallest first.

    `prompt_tokens` and `suffix_tokens` are lengths a group and an episode are padded to;
    `images` and `crops` are what the prompts' images and the crops are encoded in, `look_tokens`
    the longest insertion after a box (a crop with its frame, or a message).
    """

    prompt_tokens: tuple[int, ...]
    suffix_tokens: tuple[int, ...]
    look_tokens: int
    images: tuple[ImageBucket, ...]
    crops: tuple[ImageBucket, ...]

    def __post_init__(self):
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if isinstance(values, tuple) and not values:
                raise ValueError(f"buckets.{field.name} is empty: give at least one size")


def choose(sizes: Sequence[int], needed: int, what: str) -> int:
    """Returns the smallest bucket that holds `needed`.

    Raises ValueError naming the bucket when none does.
    """
    for size in sorted(sizes):
        if size >= needed:
            return size
    raise ValueError(
        f"{what} needs {needed}, the largest bucket is {max(sizes)} of {tuple(sizes)}: "
        "add a larger bucket, or shorten the input"
    )
