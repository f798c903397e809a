"""Images that look alike and questions that ask the same, by hashes and normalised words."""

import dataclasses

import numpy as np
from PIL import Image

from r3jax.data import images
from r3jax.reward import normalise

SIDE = 16  # a hash compares neighbours in so many rows and columns, across and down
MARGIN = 2  # grey levels by which one must be lighter: what is flat stays flat in a copy
NEAR = 40  # of 512 comparisons that may differ between two copies of an image
"""Copies that were resized, compressed or darkened differ by up to 29 in drawn pictures with much
flat ground, different pictures of this kind by 71 and more."""
NEAR_SHARE = 0.4  # of the comparisons that are lighter in either of two copies
"""Pages with a few lines have few: copies differ in up to 0.26 of them, other pages in 0.58 and
more, though these are 7 comparisons."""


def hash_image(image: np.ndarray) -> str:
    """A difference hash of an image, uint8 [height, width, 3]: which places of a small grey copy
    are lighter than the one left of them, which than the one above? 128 hexadecimal digits.

    Source: dHash, in both directions and finer, since pages of print are all alike in 64 bits.
    """
    across, down = _shrink(image, SIDE, SIDE + 1), _shrink(image, SIDE + 1, SIDE)
    lighter = np.diff(across, axis=1) > MARGIN, np.diff(down, axis=0) > MARGIN
    return np.packbits(np.stack(lighter)).tobytes().hex()


def _shrink(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A grey copy, int16 [height, width]."""
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    return images.resize(grey, height, width, Image.Resampling.BOX)[:, :, 0].astype(np.int16)


def words_of(question: str) -> str:
    """A question without what says nothing: case, articles, punctuation."""
    return " ".join(normalise.words(question))


@dataclasses.dataclass(frozen=True)
class Print:
    """What a sample is recognised by, and its name for those who are told of it."""

    name: str
    image: str
    words: str


class Known:
    """Prints that others are compared with; `names` are theirs."""

    def __init__(self):
        self.names: set[str] = set()
        self._prints: list[Print] = []
        self._hashes = np.empty((64, 2 * SIDE * SIDE // 64), np.uint64)

    def add(self, one: Print) -> None:
        """Makes one known."""
        count = len(self._prints)
        if count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[count] = _bits(one.image)
        self._prints.append(one)
        self.names.add(one.name)

    def like(self, one: Print) -> list[Print]:
        """Those whose image looks like this one's, the first known first."""
        known = self._hashes[: len(self._prints)]
        differ = np.bitwise_count(known ^ _bits(one.image)).sum(1)
        lighter = np.bitwise_count(known | _bits(one.image)).sum(1)
        is_near = (differ <= NEAR) & (differ <= NEAR_SHARE * lighter)
        return [self._prints[number] for number in np.flatnonzero(is_near)]


def _bits(image: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(image), np.uint64)
