"""Files of a run on disks or in buckets (gs://), and what differs between the two.

An object in a bucket appears whole when it is closed, and nothing is ever added to it. There are no
directories, only names with slashes, so that none is renamed in one go. What relies on disks in
this goes through here; everything else does with what paths of both can do.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Protocol

from etils import epath

REWRITE_S = 10.0  # between two times that what is added to is written to a bucket anew


def in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is of an object, or of several, in a bucket.

    >>> in_bucket("gs://mine/runs"), in_bucket("runs")
    (True, False)
    """
    return "://" in os.fspath(path)


def of(path: str | os.PathLike) -> pathlib.Path | epath.Path:
    """The path of that name, on a disk or in a bucket.

    >>> of("gs://mine/runs") / "one", of("runs") / "one"
    (PosixGPath('gs://mine/runs/one'), PosixPath('runs/one'))
    """
    if not in_bucket(path):
        return pathlib.Path(path)
    _prepare(os.fspath(path))
    return epath.Path(path)


@functools.cache
def _no_listings_kept() -> None:
    """Has fsspec ask anew what is there: other hosts write to the same bucket."""
    import fsspec  # takes a while: only who has a bucket waits

    for protocol in ("gcs", "gs"):
        fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False


def _prepare(path: str) -> None:
    _no_listings_kept()
    if path.startswith("gs://") and not importlib.util.find_spec("gcsfs"):
        raise ValueError(f"{path}: buckets are read by gcsfs: `pip install 'r3jax[gcs]'`")


def absolute(path: str | os.PathLike) -> pathlib.Path | epath.Path:
    """The path from the root of its disk, or of its bucket."""
    return of(path) if in_bucket(path) else pathlib.Path(path).absolute()


def size(path: pathlib.Path) -> int:
    """How many bytes a file has."""
    return path.stat().length if in_bucket(path) else path.stat().st_size


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that a kill in the middle leaves what was there before."""
    if in_bucket(path):
        path.write_text(text)
        return
    aside = path.with_name(f"{path.name}.partial")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def move_in_bucket(source: pathlib.Path, target: pathlib.Path) -> None:
    """Moves an object of a bucket within it, without fetching it."""
    import fsspec

    files, _ = fsspec.core.url_to_fs(os.fspath(source))
    files.mv(os.fspath(source), os.fspath(target))


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file, over one that may be there."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, 1 << 22)


def copy_tree(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a directory, over one that may be there."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (copy_tree if path.is_dir() else copy)(path, target / path.name)


def remove_tree(path: pathlib.Path) -> None:
    """Removes a directory, if it is there."""
    if in_bucket(path):
        path.rmtree(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def on_disk(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory on a disk, for those who write to nothing else; what they leave is in `directory`
    afterwards."""
    if not in_bucket(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory() as made:
        yield pathlib.Path(made)
        copy_tree(pathlib.Path(made), directory)


class Added(Protocol):
    """A text file that is added to."""

    def write(self, text: str) -> None:
        """Adds text; others see it soon."""

    def keep(self) -> None:
        """Returns when all of it stays, whatever happens."""

    def close(self) -> None:
        """Keeps it, and lets go of the file."""


def add_to(path: pathlib.Path) -> Added:
    """Opens a text file to be added to; it may be there."""
    return _AddedInBucket(path) if in_bucket(path) else _AddedOnDisk(path)


class _AddedOnDisk:
    def __init__(self, path: pathlib.Path):
        self._file = path.open("a", encoding="utf-8")

    def write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def keep(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _AddedInBucket:
    """The whole is written anew, now and then: as an object may be once a second at most."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        if not path.exists():
            path.write_text("")
        self._text, self._written = path.read_text(), time.monotonic()
        self._kept = len(self._text)

    def write(self, text: str) -> None:
        self._text += text
        if time.monotonic() - self._written >= REWRITE_S:
            self.keep()

    def keep(self) -> None:
        if len(self._text) > self._kept:
            self._path.write_text(self._text)
            self._kept, self._written = len(self._text), time.monotonic()

    def close(self) -> None:
        self.keep()
