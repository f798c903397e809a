"""Which files of a folder that somebody has downloaded are meant."""

import pathlib
import re
from collections.abc import Iterable, Sequence

from r3jax import paths
from r3jax.data.tables import SUFFIXES, TableError


def files(
    path: str | pathlib.Path, splits: Sequence[tuple[str, ...]] = (), nested: bool = False
) -> list[pathlib.Path]:
    """The files of rows that a name stands for: itself, or in a folder (or its `data`) those of the
    first of `splits` that are all there, as `test.jsonl` or `test-00000-of-00002.parquet`; without
    splits all. Of a split in several formats the first of tables.SUFFIXES counts. `nested` ones lie
    in folders below.

    Raises: TableError where there are none, or several splits and not those that are asked for.
    """
    path = paths.of(path)
    if not path.is_dir():
        return [path]
    found = _rows_in([path, path / "data"])
    if not found and nested:
        found = _rows_in(sorted(path.iterdir()))
    if not found:
        kinds = ", ".join(SUFFIXES)
        raise TableError(f"{path} holds no file that ends with {kinds}: name the folder that does")
    by_split: dict[str, list[pathlib.Path]] = {}
    for one in found:
        by_split.setdefault(_split_of(one), []).append(one)
    for names in splits:
        if all(name in by_split for name in names):
            return [one for name in names for one in _of_one_kind(by_split[name])]
    if splits and len(by_split) > 1:
        wanted = " or ".join(" and ".join(names) for names in splits)
        raise TableError(f"{path} has {', '.join(by_split)}: expected {wanted}; name a file")
    return [one for same in by_split.values() for one in _of_one_kind(same)]


def _rows_in(folders: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    return [
        one
        for folder in folders
        if folder.is_dir()
        for one in sorted(folder.iterdir())
        if one.suffix in SUFFIXES
    ]


def _of_one_kind(found: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    kind = min((one.suffix for one in found), key=SUFFIXES.index)
    return [one for one in found if one.suffix == kind]


def _split_of(path: pathlib.Path) -> str:
    """`test` of `test-00000-of-00002.parquet`; nothing of `0000.parquet`, whose folder says it."""
    return re.sub(r"-\d{5}-of-\d{5}.*$|^\d+$", "", path.stem)
