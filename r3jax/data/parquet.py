"""Rows of parquet files as Hugging Face publishes them; pixels are read when an image is opened."""

import functools
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow
import pyarrow.parquet

from r3jax.data import cells
from r3jax.data.cells import CellImage

BATCH = 32  # rows whose images are in memory together


class Shelf:
    """The images that were read last, of all files that share it: rows that stand together are
    opened one after the other."""

    def __init__(self):
        self.lock = threading.Lock()
        self.of: tuple | None = None  # file, column and row group
        self.number = -1  # of the batch within the group
        self.batches: Iterator[pyarrow.RecordBatch] = iter(())
        self.batch: pyarrow.RecordBatch | None = None


def rows(path: pathlib.Path, shelf: Shelf) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each row's place and its values; images are `CellImage`, several of a cell a tuple.

    Raises: ValueError for a file that is none.
    """
    try:
        file = _File(path, shelf)
        number = 0
        for group in range(file.groups):
            for at, values in enumerate(file.rows_of(group)):
                where = f"{path}, row {number}"
                yield where, {n: file.held(where, n, value, group, at) for n, value in values}
                number += 1
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a parquet file ({error}); fetch it again") from error


class _File:
    """A file whose images are read in batches, as they are opened."""

    def __init__(self, path: pathlib.Path, shelf: Shelf):
        self._file = pyarrow.parquet.ParquetFile(path.open("rb"))
        self._shelf = shelf
        self.groups = self._file.num_row_groups
        schema = self._file.schema_arrow
        self._pictures = {field.name for field in schema if _holds_image(field.type)}
        # Of an image the path alone is read, which says whether there is one.
        self._read = [
            f"{name}.{'list.element.' * _is_list(schema.field(name).type)}path"
            if name in self._pictures
            else name
            for name in schema.names
        ]

    def rows_of(self, group: int) -> Iterator[tuple[str, Any]]:
        """The rows of a group, names with values."""
        for batch in self._batches(group, self._read):
            yield from (row.items() for row in batch.to_pylist())

    def held(self, where: str, name: str, value: Any, group: int, at: int) -> Any:
        """A value as a row holds it."""
        if name in self._pictures:
            if isinstance(value, list):
                return tuple(self._image(where, name, group, at, n) for n in range(len(value)))
            return None if value is None else self._image(where, name, group, at, None)
        if isinstance(value, str) and cells.is_image(name, value):
            return self._image(where, name, group, at, None)
        return value

    def _image(self, where: str, name: str, group: int, at: int, item: int | None) -> CellImage:
        fetch = functools.partial(self._fetch, name, group, at, item)
        return CellImage(where, fetch, item or 0)

    def _fetch(self, name: str, group: int, at: int, item: int | None) -> bytes | str:
        shelf, wanted = self._shelf, at // BATCH
        with shelf.lock:
            if shelf.of != (self, name, group) or shelf.number > wanted:
                shelf.of, shelf.number = (self, name, group), -1
                shelf.batches = self._batches(group, [name])
            while shelf.number < wanted:
                shelf.batch = None  # two are never there together
                shelf.batch, shelf.number = next(shelf.batches), shelf.number + 1
            value = shelf.batch.column(0)[at % BATCH].as_py()
        value = value if item is None else value[item]
        return (value["bytes"] or b"") if isinstance(value, dict) else value

    def _batches(self, group: int, columns: list[str]) -> Iterator[pyarrow.RecordBatch]:
        return self._file.iter_batches(BATCH, row_groups=[group], columns=columns)


def _holds_image(kind: pyarrow.DataType) -> bool:
    inner = kind.value_type if _is_list(kind) else kind
    return pyarrow.types.is_struct(inner) and {f.name for f in inner} == {"bytes", "path"}


def _is_list(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
