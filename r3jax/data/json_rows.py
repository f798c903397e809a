"""Rows of a JSON list or of a `.jsonl` file one by one: a file of any length is read in the memory
of a row.

    for row in json_rows.read(path):
        row.where, row.line, row.value
"""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator
from typing import TextIO

from r3jax import paths

PART = 2**20  # characters that are read at a time
LONGEST_ROW = 2**26  # characters: a text that never ends is not read for ever
_SPACE = " \t\r\n"


class RowError(ValueError):
    """A row of a data file that cannot be used; the message names file and row, `fault` says in a
    word or two why, for those who count."""

    def __init__(self, told: str, fault: str = "bad row"):
        super().__init__(told)
        self.fault = fault


@dataclasses.dataclass(frozen=True)
class JsonRow:
    """A row: where it stands ("file, row n" from 0, in a `.jsonl` file "file, line n"), the line of
    the file that it begins in, from 1, and its value; of a line that is no JSON, the error."""

    where: str
    line: int
    value: object


def read(path: str | pathlib.Path) -> Iterator[JsonRow]:
    """The rows of a file. Raises: RowError where the file is no JSON list from there on, or no
    UTF-8."""
    path = paths.of(path)
    with io.TextIOWrapper(path.open("rb"), "utf-8-sig", newline="\n") as file:
        try:
            yield from (_lines if path.suffix == ".jsonl" else _list)(file, path)
        except UnicodeDecodeError as error:
            told = f"{path}: not UTF-8 ({error}); save the file as UTF-8"
            raise RowError(told, "not UTF-8") from error


def _lines(file: TextIO, path: pathlib.Path) -> Iterator[JsonRow]:
    # Iterating a file cuts at newlines alone: JSON allows U+2028 and U+0085 inside texts.
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield JsonRow(where, number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield JsonRow(where, number, _not_json(where, error))


def _list(file: TextIO, path: pathlib.Path) -> Iterator[JsonRow]:
    text = _Text(file)
    opening = text.next()
    if opening != "[":
        if opening and opening not in '{"-tfn0123456789':
            raise _not_json(str(path), ValueError(f"found {opening!r}"))
        raise RowError(
            f"{path}: expected a JSON list of rows, found {_WORDS.get(opening)}", "no list"
        )
    number, mark = 0, text.next(1)
    while mark != "]":
        where, line = f"{path}, row {number}", text.line
        try:
            value = text.value()
            mark = text.next()
            if mark not in (",", "]"):
                raise ValueError(f"expected a comma or ] behind the row, found {mark or 'the end'}")
            if mark == "," and text.next(1) == "]":
                raise ValueError("a comma before the end of the list")
        except (ValueError, RecursionError) as error:
            told = f"{path}: not JSON from row {number} in line {line} on ({error}); repair it"
            raise RowError(told, "not JSON") from error
        yield JsonRow(where, line, value)
        number += 1
    if text.next(1):
        raise RowError(f"{path}: not JSON: something follows the list; repair it", "not JSON")


def _not_json(where: str, error: Exception) -> RowError:
    return RowError(f"{where}: not JSON ({error}); repair it or leave it out", "not JSON")


_WORDS = {"{": "an object", '"': "text", "": "nothing", "t": "true", "f": "false", "n": "null"} | {
    digit: "a number" for digit in "-0123456789"
}


class _Text:
    """A file's text, read as far as it is needed; `line` is where it has come to."""

    def __init__(self, file: TextIO):
        self._file, self._text, self._at = file, "", 0
        self._decoder = json.JSONDecoder()
        self.line = 1

    def next(self, skip: int = 0) -> str:
        """The next character that is no space, which stays; "" at the end. `skip` so many first."""
        self._at += skip
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self.line += self._text[self._at] == "\n"
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def value(self) -> object:
        """The JSON value that begins here. Raises: ValueError where none does."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut(error) or not self._more():
                    raise ValueError(error.msg) from error
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            return value

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may be that the value has not been read to its end."""
        if len(self._text) - self._at > LONGEST_ROW:
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16

    def _more(self) -> bool:
        """Reads as much again as is held, at least a part; False at the end of the file."""
        held = self._text[self._at :]
        read = self._file.read(max(PART, len(held)))
        if read:
            self._text, self._at = held + read, 0
        return bool(read)
