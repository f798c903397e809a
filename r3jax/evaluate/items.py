"""Questions of benchmarks, as readers make them of the rows of whatever file they come in."""

import ast
import dataclasses
import enum
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r3jax.data.images import ImageSource
from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import choices

LETTERS = string.ascii_uppercase[:10]
_MARK = re.compile(r"<image\s*(\d*)>")
_NOTHING = ("", "nan", "None")  # how files of text write that there is no value


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
    options as `choices` and the right one's letter as `answer`, and what aggregates group by.
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
    answer: Any,
    pictures: Sequence[ImageSource],
    **fields: Any,
) -> Item:
    """An item that asks for one of `options`, which may carry letters; `answer` is a letter, with
    brackets or not, a number from 0 on, or the words of an option.

    Raises: TableError where there are no options or the answer is none of them.
    """
    options = choices.bare(options)
    if len(options) < 2:
        raise TableError(f"{row.where}: expected options, found {options}")
    right = choices.wanted(answer, options)
    if right is None:
        raise TableError(f"{row.where}: answer {answer!r} is none of the options {options}")
    sample = {"choices": options, "answer": LETTERS[right], **fields}
    return make_item(row, id, text, pictures, Asked.OPTION, sample)


def make_item(
    row: TableRow,
    id: Any,
    text: str,
    pictures: Sequence[ImageSource],
    asked: Asked,
    sample: Mapping[str, Any],
) -> Item:
    """An item whose marks of images, as `<image1>` or `<image>`, are all written `<image 1>`; those
    of images that are not there are left out."""
    places = iter(range(1, len(pictures) + 1))

    def mark(found: re.Match) -> str:
        number = int(found[1]) if found[1] else next(places, 0)
        return f"<image {number}>" if 1 <= number <= len(pictures) else ""

    return Item(row.where, str(id), _MARK.sub(mark, text).strip(), tuple(pictures), asked, sample)


def value(row: TableRow, *names: str, default: Any = None) -> Any:
    """The first of these columns that has a value."""
    for name in names:
        found = row.values.get(name)
        if found is not None and not (isinstance(found, str) and found.strip() in _NOTHING):
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
        found = _literal(inside) if inside.startswith("[") and inside.endswith("]") else [found]
    if found is None:
        return []
    return [str(one) for one in found] if isinstance(found, Iterable) else [str(found)]


def _literal(written: str) -> Iterable[Any]:
    for read in (json.loads, ast.literal_eval):  # neither runs anything
        try:
            return read(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return [written]


def lettered(row: TableRow) -> list[str]:
    """The options in columns A, B, C, ... up to the first that is empty."""
    found = []
    for letter in LETTERS:
        if (option := value(row, letter)) is None:
            break
        found.append(str(option).strip())
    return found


def pictures(row: TableRow, *names: str) -> list[ImageSource]:
    """The images of the first of these columns that has any: one, or several."""
    found = value(row, *names)
    many = found if isinstance(found, tuple | list) else [] if found is None else [found]
    return [row.image(one) for one in many]
