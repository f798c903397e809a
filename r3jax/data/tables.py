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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from r3jax import paths
from r3jax.data import cells, images, parquet
from r3jax.data.cells import CellImage

SUFFIXES = (".parquet", ".tsv", ".csv", ".jsonl", ".json")
LONGEST_CELL = 2**28  # characters


class TableError(ValueError):
    """A file that holds no rows, or a row that cannot be used; the message names it."""


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row: where it stands ("file, row n" or "file, line n"), its number among all that were read
    with it, from 0 on, and its values by column.

    Images inside the file are `images.StoredImage`; names of image files are text, relative to
    `folder`.
    """

    where: str
    folder: pathlib.Path
    number: int
    values: Mapping[str, Any]

    def image(self, value: Any) -> images.ImageSource:
        """An image of this row: one inside the file, or the file that a text names.

        Raises: ImageError for a file outside the folder, TableError for what is no image.
        """
        if isinstance(value, images.StoredImage):
            return value
        if isinstance(value, str) and value:
            if cells.is_image("image", value):
                return CellImage(self.where, lambda: value)
            return images.locate(value, self.folder)
        raise TableError(f"{self.where}: expected an image, or the name of one, found {value!r}")


def read(*files: str | pathlib.Path) -> list[TableRow]:
    """The rows of files, each read by the ending of its name, in order.

    Raises: TableError for a file of another kind, one that is not there, and where none has a row.
    """
    shelf, rows = parquet.Shelf(), []
    for path in map(paths.of, files):
        try:
            for where, values in _reader(path, shelf)(path):
                rows.append(TableRow(where, path.parent, len(rows), values))
        except FileNotFoundError as error:
            raise TableError(f"{path} is not there: name a file of rows") from error
        except (UnicodeDecodeError, csv.Error, RecursionError) as error:
            raise TableError(f"{path}: not readable ({error}); save it as UTF-8 again") from error
    if not rows:
        raise TableError(f"{', '.join(map(str, files))} holds no rows")
    return rows


def _reader(
    path: pathlib.Path, shelf: parquet.Shelf
) -> Callable[[pathlib.Path], Iterator[tuple[str, Mapping]]]:
    match path.suffix:
        case ".parquet":
            return functools.partial(parquet.rows, shelf=shelf)
        case ".tsv":
            return functools.partial(_separated, delimiter="\t")
        case ".csv":
            return functools.partial(_separated, delimiter=",")
        case ".json":
            return _json
        case ".jsonl":
            return _json_lines
    kinds = ", ".join(SUFFIXES)
    raise TableError(f"{path}: expected a file that ends with {kinds}; convert it to one")


def _json(path: pathlib.Path) -> Iterator[tuple[str, Mapping]]:
    rows = _unwrapped(_decoded(path.read_text("utf-8-sig"), str(path)))
    if rows is None:
        raise TableError(
            f'{path}: expected a JSON list of rows, an object with one as "data", or rows by id'
        )
    for number, row in enumerate(rows):
        where = f"{path}, row {number}"
        yield where, _object(where, row)


def _unwrapped(value: Any) -> list | None:
    """The rows of a list, of {"data": [...]}, or of an object that has them by id, which becomes
    their column `id`; None for anything else.

    >>> _unwrapped({"data": [1]}), _unwrapped({"7": {"a": 1}}), _unwrapped({"7": 1})
    ([1], [{'id': '7', 'a': 1}], None)
    """
    if isinstance(value, dict):
        if isinstance(value.get("data"), list):
            return value["data"]
        if value and all(isinstance(row, dict) for row in value.values()):
            return [{"id": name, **row} for name, row in value.items()]
    return value if isinstance(value, list) else None


def _json_lines(path: pathlib.Path) -> Iterator[tuple[str, Mapping]]:
    with path.open("r", encoding="utf-8-sig", newline="\n") as file:
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
            if not row:  # an empty line
                begin = lines.read
                continue
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
