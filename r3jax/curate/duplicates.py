"""Images that look alike and questions that ask the same, by hashes and normalised words."""

import dataclasses

import numpy as np
from PIL import Image

from r3jax.data import images
from r3jax.reward import normalise

SIDE = 16  # the hash of an image compares so many columns with their neighbours, in so many rows
NEAR = 12  # of 256 comparisons that may differ between two copies of an image


def hash_image(image: np.ndarray) -> str:
    """A difference hash of an image, uint8 [height, width, 3]: is each place of a 16 x 17 grey copy
    darker than the one right of it? 64 hexadecimal digits.

    Source: dHash, with 256 bits, since pages of print are all alike in 64.
    """
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    small = images.resize(grey, SIDE, SIDE + 1, Image.Resampling.BOX)[:, :, 0].astype(np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


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
        self._hashes = np.empty((64, SIDE * SIDE // 64), np.uint64)

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
        return [self._prints[number] for number in np.flatnonzero(differ <= NEAR)]


def _bits(image: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(image), np.uint64)
