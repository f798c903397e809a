"""Replacing a directory as a whole, so that a full disk or a kill never leaves half of one."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from r3jax.checkpoint.errors import CheckpointError


@contextlib.contextmanager
def replaced(directory: Path, mark: str) -> Iterator[Path]:
    """Yields an empty directory beside `directory` that takes its place when the block succeeds.

    `mark` is a file that tells a directory of the same kind: a directory without it that holds
    anything is not replaced. When the block fails the old directory stays as it was. Remains of
    a run that was killed while it wrote are removed first.

    Raises: CheckpointError when something else is in the way, or when writing fails (full disk).
    """
    partial = directory.with_name(f".{directory.name}.partial")
    previous = directory.with_name(f".{directory.name}.previous")
    if directory.exists() and not (directory / mark).exists() and not _is_empty(directory):
        raise CheckpointError(
            f"{directory} exists and holds no {mark}, so it is not replaced; "
            "name a new directory or empty this one"
        )
    try:
        if previous.exists() and not directory.exists():  # killed between the two renames below
            previous.rename(directory)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        shutil.rmtree(previous, ignore_errors=True)
        if directory.exists():
            directory.rename(previous)
        partial.rename(directory)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"writing {directory} failed: {error}. Nothing was replaced: what was there before is "
            "still whole. Free some space or name another disk, then run it again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())


def _sync(directory: Path) -> None:
    """Has the disk hold every file before the rename makes them count."""
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
