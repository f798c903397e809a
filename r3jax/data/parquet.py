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


def rows(path: pathlib.Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each row's place and its values; images are `CellImage`, several of a cell a tuple.

    Raises: ValueError for a file that is none.
    """
    try:
        file = _File(path)
        number = 0
        for group in range(file.groups):
            for at, values in enumerate(file.rows_of(group)):
                where = f"{path}, row {number}"
                yield where, {n: file.held(where, n, value, group, at) for n, value in values}
                number += 1
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a parquet file ({error}); fetch it again") from error


class _File:
    """A file, and the last column with images that was read of it: rows that stand together are
    opened one after the other."""

    def __init__(self, path: pathlib.Path):
        self._file = pyarrow.parquet.ParquetFile(path.open("rb"))
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
        self._lock = threading.Lock()
        self._last: tuple[int, str, list] | None = None

    def rows_of(self, group: int) -> Iterator[tuple[str, Any]]:
        """The rows of a group, names with values."""
        table = self._file.read_row_group(group, columns=self._read)
        return (row.items() for row in table.to_pylist())

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
        with self._lock:
            if self._last is None or self._last[:2] != (group, name):
                column = self._file.read_row_group(group, columns=[name])[name]
                self._last = group, name, column
            value = self._last[2][at].as_py()
        value = value if item is None else value[item]
        return (value["bytes"] or b"") if isinstance(value, dict) else value


def _holds_image(kind: pyarrow.DataType) -> bool:
    inner = kind.value_type if _is_list(kind) else kind
    return pyarrow.types.is_struct(inner) and {f.name for f in inner} == {"bytes", "path"}


def _is_list(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
