"""Rows of files as others publish them: parquet, TSV, CSV, JSON, JSONL, their images left where
they are until somebody opens them.

    for row in tables.read("MMStar/val.parquet"):
        row.values["question"], images.open_image(row.values["image"])
"""

import csv
import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from r3jax import paths
from r3jax.data import cells, images, parquet
from r3jax.data.cells import CellImage

LONGEST_CELL = 2**28  # characters


class TableError(ValueError):
    """A file that holds no rows, or a row that cannot be used; the message names it."""


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row: where it stands ("file, row n" or "file, line n") and its values by column.

    Images inside the file are `images.StoredImage`; names of image files are text, relative to
    `folder`.
    """

    where: str
    folder: pathlib.Path
    values: Mapping[str, Any]

    def image(self, value: Any) -> images.ImageSource:
        """An image of this row: one inside the file, or the file that a text names.

        Raises: ImageError for a file outside the folder, TableError for what is no image.
        """
        if isinstance(value, images.StoredImage):
            return value
        if isinstance(value, str) and value:
            if len(value) > cells.LONGEST_NAME:
                return CellImage(self.where, lambda: value)
            return images.locate(value, self.folder)
        raise TableError(f"{self.where}: expected an image, or the name of one, found {value!r}")


def read(path: str | pathlib.Path) -> list[TableRow]:
    """The rows of a file, by the ending of its name. Raises: TableError where it has none."""
    path = paths.of(path)
    reader = _READERS.get(path.suffix)
    if reader is None:
        kinds = ", ".join(_READERS)
        raise TableError(f"{path}: expected a file that ends with {kinds}; convert it to one")
    try:
        rows = [TableRow(where, path.parent, values) for where, values in reader(path)]
    except FileNotFoundError as error:
        raise TableError(f"{path} is not there: name a file of rows") from error
    except (UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise TableError(f"{path}: not readable ({error}); save it as UTF-8 again") from error
    if not rows:
        raise TableError(f"{path} holds no rows")
    return rows


def files_in(path: str | pathlib.Path, splits: tuple[str, ...] = ()) -> list[pathlib.Path]:
    """The files of rows that a name stands for: itself, or in a folder those of the first of
    `splits` that has any (`test.jsonl`, `test-00000-of-00002.parquet`); without splits all.

    Raises: TableError where there are none, or several splits and none that is asked for.
    """
    path = paths.of(path)
    if not path.is_dir():
        return [path]
    found = sorted(
        one
        for folder in (path, path / "data")
        if folder.is_dir()
        for one in folder.iterdir()
        if one.suffix in _READERS
    )
    if not found:
        kinds = ", ".join(_READERS)
        raise TableError(f"{path} holds no file that ends with {kinds}: name the folder that does")
    by_split: dict[str, list[pathlib.Path]] = {}
    for one in found:
        by_split.setdefault(_split_of(one), []).append(one)
    for split in splits:
        if split in by_split:
            return by_split[split]
    if splits and len(by_split) > 1:
        raise TableError(
            f"{path} has {', '.join(by_split)}: expected {' or '.join(splits)}; name a file"
        )
    return found


def _split_of(path: pathlib.Path) -> str:
    """`test` of `test-00000-of-00002.parquet`; nothing of `0000.parquet`, whose folder says it."""
    return re.sub(r"-\d{5}-of-\d{5}.*$|^\d+$", "", path.stem)


def _json(path: pathlib.Path) -> Iterator[tuple[str, Mapping]]:
    value = _decoded(path.read_text("utf-8"), str(path))
    if not isinstance(value, list):
        raise TableError(f"{path}: expected a JSON list of rows")
    for number, row in enumerate(value):
        where = f"{path}, row {number}"
        yield where, _object(where, row)


def _json_lines(path: pathlib.Path) -> Iterator[tuple[str, Mapping]]:
    with path.open("r", encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _object(where, _decoded(line, where))


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TableError(f"{where}: not JSON ({error}); repair it or leave it out") from error


def _object(where: str, row: Any) -> Mapping:
    if not isinstance(row, dict):
        raise TableError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def _separated(path: pathlib.Path, delimiter: str) -> Iterator[tuple[str, Mapping]]:
    """Rows of a text file; an image is read again, from where its row begins, when it is opened."""
    csv.field_size_limit(LONGEST_CELL)
    with path.open("rb") as file:
        lines = _Lines(file)
        rows = csv.reader(lines, delimiter=delimiter)
        names = next(rows, [])
        begin = lines.read
        for row in rows:
            where = f"{path}, line {lines.number}"
            if len(row) != len(names):
                raise TableError(f"{where}: expected {len(names)} values, found {len(row)}")
            at = _Place(path, begin, delimiter)
            held = (_held(where, n, t, at, k) for k, (n, t) in enumerate(zip(names, row)))
            yield where, dict(zip(names, held))
            begin = lines.read


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a row begins, in bytes."""

    path: pathlib.Path
    begin: int
    delimiter: str

    def cell(self, column: int, number: int) -> str:
        """One of the images of a cell."""
        with self.path.open("rb") as file:
            file.seek(self.begin)
            row = next(csv.reader(_Lines(file), delimiter=self.delimiter))
        return cells.several(row[column])[number]


def _held(where: str, name: str, text: str, at: _Place, column: int) -> Any:
    """A value as a row holds it: several images of a cell as a tuple."""
    if not cells.is_image(name, text):
        return text
    found = tuple(
        CellImage(where, functools.partial(at.cell, column, number), number)
        for number in range(len(cells.several(text)))
    )
    return found if len(found) > 1 else found[0]


class _Lines(Iterator[str]):
    """Lines of a file, with how many bytes and lines were `read`."""

    def __init__(self, file: BinaryIO):
        self._file, self.read, self.number = file, 0, 0

    def __next__(self) -> str:
        if not (line := self._file.readline()):
            raise StopIteration
        encoding = "utf-8-sig" if self._file.tell() == len(line) else "utf-8"
        self.read += len(line)
        self.number += 1
        return line.decode(encoding)


_READERS: Mapping[str, Callable[[pathlib.Path], Iterator[tuple[str, Mapping]]]] = {
    ".parquet": parquet.rows,
    ".tsv": functools.partial(_separated, delimiter="\t"),
    ".csv": functools.partial(_separated, delimiter=","),
    ".json": _json,
    ".jsonl": _json_lines,
}
