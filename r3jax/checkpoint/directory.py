"""Replacing a directory as a whole, so that a full disk or a kill never leaves half of one."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from r3jax import paths
from r3jax.checkpoint.errors import CheckpointError


@contextlib.contextmanager
def replaced(directory: Path, mark: str) -> Iterator[Path]:
    """Yields an empty directory beside `directory` that takes its place when the block succeeds.

    `mark` is a file that tells a directory of the same kind: a directory without it that holds
    anything is not replaced. When the block fails the old directory stays as it was. Remains of
    a run that was killed while it wrote are removed first. In a bucket the new directory takes the
    place file by file, the mark at the end, so that one with it is whole there, too; what was
    broken off in between is finished the next time.

    Raises: CheckpointError when something else is in the way, or when writing fails (full disk).
    """
    partial = directory.with_name(f".{directory.name}.partial")
    kind = _InBucket if paths.in_bucket(directory) else _OnDisk
    try:
        kind.recover(directory, partial, mark)
        if directory.exists() and not (directory / mark).exists() and not _is_empty(directory):
            raise CheckpointError(
                f"{directory} exists and holds no {mark}, so it is not replaced; "
                "name a new directory or empty this one"
            )
        paths.remove_tree(partial)
        partial.mkdir(parents=True)
        try:
            yield partial
            kind.settle(partial)
        except BaseException:  # a signal as well: nothing half written stays
            paths.remove_tree(partial)
            raise
    except OSError as error:
        raise CheckpointError(
            f"writing {directory} failed: {error}. Nothing was replaced: what was there before is "
            "still whole. Free some space or name another disk, then run it again"
        ) from error
    try:
        kind.swap(directory, partial, mark)
    except OSError as error:
        raise CheckpointError(
            f"moving {partial} to {directory} failed: {error}. It is whole, but not in its place: "
            "run it again"
        ) from error


class _OnDisk:
    """Directories are renamed, in one go each."""

    @staticmethod
    def recover(directory: Path, partial: Path, mark: str) -> None:
        previous = _OnDisk._previous(directory)
        if previous.exists() and not directory.exists():  # killed between the renames of `swap`
            previous.rename(directory)

    @staticmethod
    def settle(partial: Path) -> None:
        """Has the disk hold every file before the rename makes them count."""
        for path in partial.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())

    @staticmethod
    def swap(directory: Path, partial: Path, mark: str) -> None:
        previous = _OnDisk._previous(directory)
        paths.remove_tree(previous)
        if directory.exists():
            directory.rename(previous)
        partial.rename(directory)
        paths.remove_tree(previous)

    @staticmethod
    def _previous(directory: Path) -> Path:
        return directory.with_name(f".{directory.name}.previous")


class _InBucket:
    """Files are moved one by one: as long as the mark is not there, the directory is not whole. The
    object `WHOLE` beside them says that all were written, and which they are."""

    WHOLE = ".whole"

    @staticmethod
    def recover(directory: Path, partial: Path, mark: str) -> None:
        if (partial / _InBucket.WHOLE).exists():  # killed while it moved, or just before
            _InBucket.swap(directory, partial, mark)

    @staticmethod
    def settle(partial: Path) -> None:
        names = sorted(path.name for path in paths.inside(partial))
        (partial / _InBucket.WHOLE).write_text(json.dumps(names))

    @staticmethod
    def swap(directory: Path, partial: Path, mark: str) -> None:
        names = json.loads((partial / _InBucket.WHOLE).read_text())
        waiting = {path.name for path in paths.inside(partial)}
        if mark in waiting:  # it comes last, so that what is there may be in pieces, or old
            (directory / mark).unlink(missing_ok=True)
            old = paths.inside(directory) if directory.exists() else ()
            for path in [one for one in old if one.name not in names or one.name in waiting]:
                path.unlink(missing_ok=True)
        for name in sorted(names, key=lambda name: name == mark):
            if name in waiting:
                paths.move_in_bucket(partial / name, directory / name)
        (partial / _InBucket.WHOLE).unlink()


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(paths.inside(directory))
