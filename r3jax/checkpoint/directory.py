"""Replacing a directory as a whole, so that a full disk or a kill never leaves half of one."""

import contextlib
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
    a run that was killed while it wrote are removed first. In a bucket what takes the place does so
    file by file, the mark at the end: a directory with it is whole there, too.

    Raises: CheckpointError when something else is in the way, or when writing fails (full disk).
    """
    partial = directory.with_name(f".{directory.name}.partial")
    previous = directory.with_name(f".{directory.name}.previous")
    try:
        if previous.exists() and not directory.exists():  # killed between the two renames below
            previous.rename(directory)
        _check_replaceable(directory, partial, mark)
        paths.remove_tree(partial)
        partial.mkdir(parents=True)
        yield partial
        if paths.in_bucket(directory):
            _move_by_file(partial, directory, mark)
        else:
            _sync(partial)
            paths.remove_tree(previous)
            if directory.exists():
                directory.rename(previous)
            partial.rename(directory)
            paths.remove_tree(previous)
    except OSError as error:
        raise CheckpointError(
            f"writing {directory} failed: {error}. Nothing was replaced: what was there before is "
            "still whole. Free some space or name another disk, then run it again"
        ) from error
    finally:
        paths.remove_tree(partial)


def _check_replaceable(directory: Path, partial: Path, mark: str) -> None:
    if not directory.exists() or (directory / mark).exists():
        return
    if paths.in_bucket(directory) and (partial / mark).exists():
        return  # killed while it moved file by file
    if not (directory.is_dir() and not any(directory.iterdir())):
        raise CheckpointError(
            f"{directory} exists and holds no {mark}, so it is not replaced; "
            "name a new directory or empty this one"
        )


def _move_by_file(source: Path, target: Path, mark: str) -> None:
    """Moves files in a bucket: as long as the mark is not there, the target is not whole."""
    (target / mark).unlink(missing_ok=True)
    paths.remove_tree(target)
    for path in sorted(source.iterdir(), key=lambda path: path.name == mark):
        paths.move_in_bucket(path, target / path.name)


def _sync(directory: Path) -> None:
    """Has the disk hold every file before the rename makes them count."""
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
