"""Questions of benchmarks, as readers make them of the rows of whatever file they come in."""

import ast
import dataclasses
import enum
import functools
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r3jax.data.images import ImageSource
from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import option_lists

LETTERS = string.ascii_uppercase[:10]
_MARK = re.compile(r"<image\s*(\d*)>")
_BETWEEN = re.compile(r"(['\"])\s+(['\"])")  # entries of a list as NumPy writes it


class Asked(enum.StrEnum):
    """What kind of answer a question asks for."""

    OPTION = "option"
    PHRASE = "phrase"
    YES_NO = "yes_no"
    INTEGER = "integer"
    FLOAT = "float"
    LIST = "list"
    VALUE = "value"


@dataclasses.dataclass(frozen=True)
class Item:
    """A question of a benchmark, its images not yet opened.

    `text` has no options; `<image 2>` in it (or in an option) is where the second of `images`
    stands, and those that have no place come first. `sample` is what `benchmarks.score` reads, its
    options as `choices` and the right one's number as `answer`, and what aggregates group by.
    `where` names file and row.
    """

    where: str
    id: str
    text: str
    images: tuple[ImageSource, ...]
    asked: Asked
    sample: Mapping[str, Any]

    @property
    def choices(self) -> Sequence[str]:
        return self.sample.get("choices", ())


def option_item(
    row: TableRow,
    id: Any,
    text: str,
    options: Sequence[str],
    answer: str | int,
    pictures: Sequence[ImageSource],
    numbers: Mapping[int, int] | None = None,
    **fields: Any,
) -> Item:
    """An item that asks for one of `options`, which may carry letters; `answer` is a letter, with
    brackets or not, or a number from 0 on. `numbers` as in `make_item`.

    Raises: TableError where there are no options or the answer is none of them.
    """
    options = option_lists.bare(options)
    if len(options) < 2:
        raise TableError(f"{row.where}: expected options, found {options}")
    if isinstance(answer, str):
        letter = re.fullmatch(r"\(?([A-Z])\)?[.:]?", answer.strip().upper())
        right = ord(letter[1]) - ord("A") if letter else -1
    else:
        right = int(answer)
    if not 0 <= right < len(options):
        raise TableError(f"{row.where}: answer {answer!r} is none of the options {options}")
    shown = [_marked(one, pictures, numbers) for one in options]
    sample = {"choices": shown, "answer": right, **fields}
    return make_item(row, id, text, pictures, Asked.OPTION, sample, numbers)


def make_item(
    row: TableRow,
    id: Any,
    text: str,
    pictures: Sequence[ImageSource],
    asked: Asked,
    sample: Mapping[str, Any],
    numbers: Mapping[int, int] | None = None,
) -> Item:
    """An item whose marks of images, as `<image1>` or `<image>`, are all written `<image 1>`; those
    of images that are not there are left out. `numbers` are those of `pictures` by what marks call
    them, both from 1 on (default: the same)."""
    text = _marked(text, pictures, numbers).strip()
    return Item(row.where, str(id), text, tuple(pictures), asked, sample)


def _marked(text: str, pictures: Sequence[ImageSource], numbers: Mapping[int, int] | None) -> str:
    if numbers is None:
        numbers = {number: number for number in range(1, len(pictures) + 1)}
    unnumbered = iter(range(1, len(pictures) + 1))

    def mark(found: re.Match) -> str:
        number = numbers.get(int(found[1])) if found[1] else next(unnumbered, None)
        return "" if number is None else f"<image {number}>"

    return _MARK.sub(mark, text)


def value(row: TableRow, *names: str, default: Any = None) -> Any:
    """The first of these columns that has a value."""
    for name in names:
        found = row.values.get(name)
        is_nothing = found is None or found != found  # what parquet has of no number is not equal
        if not is_nothing and not (isinstance(found, str) and not found.strip()):
            return found
    return default


def needed(row: TableRow, *names: str) -> Any:
    """As `value`. Raises: TableError where no column has one."""
    if (found := value(row, *names)) is None:
        raise TableError(
            f"{row.where}: expected {' or '.join(map(repr, names))} to have a value; the row has "
            f"{', '.join(row.values)}"
        )
    return found


def text(row: TableRow, *names: str) -> str:
    """As `needed`, as text."""
    return str(needed(row, *names)).strip()


def fields(row: TableRow, *names: str, **renamed: str) -> dict[str, str]:
    """The values of these columns, as text, of those that the row has; `name=column` gives one the
    name that aggregates know."""
    columns = {**{name: name for name in names}, **renamed}
    return {
        name: str(found).strip()
        for name, column in columns.items()
        if (found := value(row, column)) is not None
    }


def listed(found: Any) -> list[str]:
    """A list of texts: one, or what Python or JSON writes of one; a text by itself is one of them.

    >>> listed("['a', 'b']"), listed("a"), listed(None)
    (['a', 'b'], ['a'], [])
    """
    if isinstance(found, str):
        inside = found.strip()
        is_list = inside.startswith("[") and inside.endswith("]")
        found = _literal(_BETWEEN.sub(r"\1, \2", inside)) if is_list else [found]
    if found is None:
        return []
    return [str(one) for one in found] if isinstance(found, Iterable) else [str(found)]


def _literal(written: str) -> Iterable[Any]:
    as_written = {"parse_float": str, "parse_int": str}
    for read in (functools.partial(json.loads, **as_written), ast.literal_eval):  # none runs it
        try:
            return read(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return [written]


def lettered(row: TableRow) -> list[str]:
    """The options in columns A, B, C, ... up to the last that has one.

    Raises: TableError where one before it has none.
    """
    found = [value(row, letter) for letter in LETTERS]
    while found and found[-1] is None:
        found.pop()
    if None in found:
        raise TableError(f"{row.where}: option {LETTERS[found.index(None)]} is empty")
    return [str(option).strip() for option in found]


def pictures(row: TableRow, *names: str) -> list[ImageSource]:
    """The images of the first of these columns that has any: one, or several."""
    found = value(row, *names)
    many = found if isinstance(found, tuple | list) else [] if found is None else [found]
    return [row.image(one) for one in many]


def row_id(row: TableRow, *names: str) -> str:
    """The row's id, or its number where it has none."""
    return str(value(row, *names, default=row.number))
