"""Text files that are added to, on disks or in buckets, where that is done by writing anew."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Protocol

from r3jax import paths

REWRITE_S = 10.0  # an object may be written once a second at most


class Added(Protocol):
    """A text file that is added to."""

    def write(self, text: str) -> None:
        """Adds text; others see it soon."""

    def keep(self) -> None:
        """Returns when all of it stays, whatever happens."""

    def close(self) -> None:
        """Keeps it, and lets go of the file."""


def add_to(path: pathlib.Path, now: Callable[[], float] = time.monotonic) -> Added:
    """Opens a text file to be added to; it may be there. `now` are seconds."""
    return _InBucket(path, now) if paths.in_bucket(path) else _OnDisk(path)


class _OnDisk:
    def __init__(self, path: pathlib.Path):
        self._file = path.open("a", encoding="utf-8")

    def write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def keep(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.keep()
        self._file.close()


class _InBucket:
    """The whole is written anew: with what is added `REWRITE_S` after the last time, and when it is
    to be kept."""

    def __init__(self, path: pathlib.Path, now: Callable[[], float]):
        self._path, self._now = path, now
        if not path.exists():
            path.write_text("")
        self._text, self._tried = path.read_text(), now()
        self._kept = len(self._text)

    def write(self, text: str) -> None:
        self._text += text
        if self._now() - self._tried >= REWRITE_S:
            try:
                self.keep()
            except Exception as error:  # of the network, of many kinds: `keep` raises it
                print(f"{self._path}: not written yet, tried again soon ({error})", flush=True)

    def keep(self) -> None:
        if len(self._text) > self._kept:
            self._tried = self._now()
            self._path.write_text(self._text)
            self._kept = len(self._text)

    def close(self) -> None:
        self.keep()
