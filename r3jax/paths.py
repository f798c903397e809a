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
from collections.abc import Iterator

from etils import epath

BUCKETS = "gs://"


def in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is of an object, or of several, in a bucket.

    >>> in_bucket("gs://mine/runs"), in_bucket("runs")
    (True, False)
    """
    return os.fspath(path).startswith(BUCKETS)


def of(path: str | os.PathLike) -> pathlib.Path | epath.Path:
    """The path of that name, on a disk or in a bucket.

    Raises: ValueError for another kind of place, for a name in a bucket that would be taken for a
    pattern, and where the package that reads buckets is missing.

    >>> of("gs://mine/runs") / "one", of("runs") / "one"
    (PosixGPath('gs://mine/runs/one'), PosixPath('runs/one'))
    """
    name = os.fspath(path)
    if in_bucket(name):
        if found := set(name) & set("*?["):
            raise ValueError(f"{name}: names in buckets may not have {' '.join(sorted(found))}")
        if not _has_gcsfs():
            raise ValueError(f"{name}: buckets need gcsfs: `pip install 'r3jax[gcs]'`")
        _prepare()
        return epath.Path(path)
    if "://" in name:
        raise ValueError(f"{name}: expected a path on a disk, or in a bucket by {BUCKETS}NAME/...")
    return pathlib.Path(path)


def _has_gcsfs() -> bool:
    return importlib.util.find_spec("gcsfs") is not None


@functools.cache
def _prepare() -> None:
    """Has etils read buckets in one way on all machines, and ask anew what is there each time:
    other hosts write to the same bucket."""
    os.environ.setdefault("EPATH_USE_TF", "false")
    # Buckets of other kinds, for which every client would ask first: they do without.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import fsspec  # takes a while: only who has a bucket waits

    for protocol in ("gcs", "gs"):
        fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False


def absolute(path: str | os.PathLike) -> pathlib.Path | epath.Path:
    """The path from the root of its disk, or of its bucket."""
    return of(path) if in_bucket(path) else pathlib.Path(path).absolute()


def size(path: pathlib.Path) -> int:
    """How many bytes a file has."""
    return path.stat().length if in_bucket(path) else path.stat().st_size


def inside(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """What a directory holds. In a bucket an object may stand for the directory itself, as some
    programs make one: it is left out."""
    for path in directory.iterdir():
        if path.name != directory.name or path.exists() or not in_bucket(path):
            yield path


def checksum(path: pathlib.Path) -> str:
    """What an object in a bucket says of its bytes, without fetching them."""
    return _files(path).info(os.fspath(path))["crc32c"]


def head(path: pathlib.Path, count: int) -> bytes:
    """The first bytes of a file."""
    if not in_bucket(path):
        with path.open("rb") as file:
            return file.read(count)
    return _files(path).cat_file(os.fspath(path), 0, count)


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
    _files(source).mv(os.fspath(source), os.fspath(target))


def _files(path: pathlib.Path):
    """What fsspec knows of a bucket, for what its paths cannot do."""
    import fsspec

    return fsspec.core.url_to_fs(os.fspath(path))[0]


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file, over one that may be there."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, 1 << 22)


def copy_tree(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a directory, over one that may be there."""
    target.mkdir(parents=True, exist_ok=True)
    for path in inside(source):
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
