"""The few shapes that jitted programs see. A run compiles once for each bucket and never again."""

import dataclasses
import math
from collections.abc import Sequence

from r3jax import hosts


@dataclasses.dataclass(frozen=True)
class ImageBucket:
    """Rows of images: how many windows a row has, and patches a window.

    Raises: ValueError for a number that no image would fit.
    """

    rows: int
    windows: int
    slots: int

    def __post_init__(self):
        for name in ("rows", "windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.slots < 4 or self.slots % 4:
            raise ValueError(
                f"slots must be a positive multiple of 4 (patches of a token), found {self.slots}"
            )

    def __str__(self) -> str:
        return f"{self.rows}x{self.windows}x{self.slots}"

    def holds(self, windows: Sequence[int], slots: int) -> bool:
        """Whether images of so many windows each, with up to `slots` slots, fit in this order.

        >>> ImageBucket(rows=2, windows=3, slots=64).holds([2, 2, 1, 1], slots=36)
        True
        """
        free = [self.windows] * self.rows
        for needed in windows:
            row = next((i for i, left in enumerate(free) if left >= needed), None)
            if row is None:
                return False
            free[row] -= needed
        return slots <= self.slots

    @property
    def features(self) -> int:
        """How many features the vision tower gives for such a batch."""
        return self.rows * self.windows * self.slots // 4


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Every static size of a run, smallest first.

    `prompt_tokens` and `suffix_tokens` are lengths a group and an episode are padded to;
    `images` and `crops` are what the prompts' images and the crops are encoded in (on a mesh, those
    of each part that groups are dealt to; as many rows as `crops` have are served together),
    `look_tokens` the longest insertion after a box (a crop with its frame, or a message). An update
    computes on a packed stream: `fill` are the shares of its padded places that a stream may have
    room for. Where looks are cut on the device, `originals` are the height and width of the largest
    original image in pixels (None: of the largest that comes).

    Raises: ValueError for a list without sizes, a size under 1, and shares that do not end at 1.
    """

    prompt_tokens: tuple[int, ...]
    suffix_tokens: tuple[int, ...]
    look_tokens: int
    images: tuple[ImageBucket, ...]
    crops: tuple[ImageBucket, ...]
    fill: tuple[float, ...] = (0.22, 0.29, 0.38, 0.5, 0.7, 1.0)
    originals: tuple[int, int] | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if values == ():
                raise ValueError(f"buckets.{field.name} is empty: give at least one size")
        for name in ("prompt_tokens", "suffix_tokens", "look_tokens"):
            sizes = getattr(self, name)
            if min(sizes if isinstance(sizes, tuple) else (sizes,)) < 1:
                raise ValueError(f"buckets.{name} must be at least 1, found {sizes}")
        if self.originals is not None and min(self.originals) < 1:
            raise ValueError(
                f"buckets.originals are a height and a width in pixels, found {self.originals}"
            )
        if min(self.fill) <= 0 or max(self.fill) != 1:
            raise ValueError(
                "buckets.fill are shares above 0, the largest 1.0 (room for all padding), found "
                f"{self.fill}"
            )

    def stream_tokens(self, places: int) -> tuple[int, ...]:
        """The lengths that a stream of so many padded places may have, smallest first.

        >>> image = (ImageBucket(1, 1, 4),)
        >>> Buckets((8,), (8,), 1, image, image, fill=(0.5, 0.75, 1.0)).stream_tokens(100)
        (50, 75, 100)
        """
        return tuple(sorted({math.ceil(places * share) for share in self.fill}))


def choose(sizes: Sequence[int], needed: int, what: str) -> int:
    """Returns the smallest bucket that holds `needed`, on all hosts: arrays of theirs are parts of
    the same ones.

    Raises ValueError naming the bucket when none does.
    """
    needed = hosts.most(what, needed)
    for size in sorted(sizes):
        if size >= needed:
            return size
    raise ValueError(
        f"{what} needs {needed}, the largest bucket is {max(sizes)} of {tuple(sizes)}: "
        "add a larger bucket, or shorten the input"
    )
