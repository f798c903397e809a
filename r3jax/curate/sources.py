"""Questions with answers and images, from the data sets that VLIR was made of.

Columns are those of the published files (parquet, TSV, CSV, JSON, JSONL). Where a row's image is a
name, it lies below a folder.
"""

import ast
import collections
import dataclasses
import hashlib
import math
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from r3jax.data import images
from r3jax.data.tables import TableError, TableRow
from r3jax.reward.answers import alternatives

LEAST_VOTES = 3  # of ten people of TextVQA's
_NO_ANSWERS = ("unanswerable", "answering does not require reading text in the image")
LONGEST_ID = 100  # characters
_ODD = (  # what comes of a row in another form
    KeyError, TypeError, ValueError, OverflowError, SyntaxError, RecursionError, MemoryError,
)  # fmt: skip
Asked = tuple[str, str, tuple[str, ...], Any]
"""What a row asks: its name in the source, the question, right answers, the image's value."""


class NoAnswer(TableError):
    """A row that is whole, but has no right answer."""


@dataclasses.dataclass(frozen=True)
class SourceRow:
    """A row of a source, read but for its image."""

    where: str
    source: str
    source_id: str
    question: str
    answers: tuple[str, ...]
    image: images.ImageSource
    values: Mapping[str, Any]


def read(row: TableRow, source: str, folder: pathlib.Path) -> SourceRow:
    """A row of the data set `source`, whose images by name lie under `folder`.

    Raises: TableError for a row without what the source always has, or with something else than
    text or numbers there; NoAnswer for one that nobody can answer rightly; ImageError for an image
    outside the folder.
    """
    try:
        source_id, question, answers, image = READERS[source](row.values)
        source = _text(row.values["source"]) if source == VLIR else source
    except NoAnswer as error:
        raise NoAnswer(f"{row.where}: {error}") from error
    except _ODD as error:
        columns = ", ".join(row.values)
        raise TableError(
            f"{row.where}: no row of {source} ({type(error).__name__}: {error}); it has {columns}"
        ) from error
    question, answers = question.strip(), tuple(filter(None, (one.strip() for one in answers)))
    if not question or not answers:
        raise TableError(f"{row.where}: expected a question with an answer, found {question!r}")
    found = dataclasses.replace(row, folder=folder).image(image)
    return SourceRow(row.where, source, source_id, question, answers, found, row.values)


def sample_id(source: str, source_id: str, where: str) -> str:
    """A name for a sample that files may have; of a row without one, where it stands. What is
    lost of a name is made up for by a hash of it.

    >>> sample_id("gqa", "02930152", ""), sample_id("vsr", "", "dev.jsonl, line 7")
    ('gqa-02930152', 'vsr-dev.jsonl-line-7')
    >>> sample_id("gqa", "a/b", ""), sample_id("gqa", "a b", "")
    ('gqa-a-b-028fb3db', 'gqa-a-b-2aacd5f1')
    """
    file, _, place = where.rpartition(",")
    name = f"{source}-{source_id or pathlib.PurePath(file).name + place.replace(' ', '-')}"
    clean = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)
    if clean == name and len(clean) <= LONGEST_ID:
        return clean
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[: LONGEST_ID - 9]}-{digest}"


def _textvqa(row: Mapping) -> Asked:
    """The answers that at least three of ten people gave, most votes first."""
    votes = collections.Counter(_list(row["answers"])).most_common()
    agreed = [text for text, count in votes if count >= LEAST_VOTES]
    gold = tuple(text for text in agreed if text.strip().lower() not in _NO_ANSWERS)
    if not gold:
        told = f"{agreed[0]!r} is none" if agreed else f"no {LEAST_VOTES} people gave the same"
        raise NoAnswer(f"expected an answer that people agree on: {told}")
    image = row.get("image") or f"{_text(row['image_id'])}.jpg"
    return _id(row["question_id"]), _text(row["question"]), gold, image


def _document(row: Mapping) -> Asked:
    image = row.get("image") or row.get("image_local_name") or row["image"]
    return _id(row["questionId"]), _text(row["question"]), _list(row["answers"]), image


def _gqa(row: Mapping) -> Asked:
    image = row.get("image") or f"{_text(row['imageId'])}.jpg"
    return _id(row["id"]), _text(row["question"]), (_text(row["answer"]),), image


def _vsr(row: Mapping) -> Asked:
    label = int(row["label"])
    if label not in (0, 1):
        raise ValueError(f"label {label}")
    question = f'Is this true of the image: "{_text(row["caption"]).strip()}" Answer yes or no.'
    return _id(row.get("id")), question, ("yes" if label else "no",), row["image"]


def _vlir(row: Mapping) -> Asked:
    """The one format whose answers list alternatives, "B/C"."""
    answer = _text(row["answer"])
    answers = (answer, *alternatives(answer, _text(row["source"])))
    return _id(row.get("id")), _text(row["question"]), answers, row["image_path"]


def _list(value: Any) -> tuple[str, ...]:
    """Answers, which some files hold as the text of a list."""
    if isinstance(value, str) and value.startswith("["):
        value = ast.literal_eval(value)
    return tuple(map(_text, value if isinstance(value, list | tuple) else [value]))


def _text(value: Any) -> str:
    """A text, or a number as one. Raises: ValueError for anything else."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) or is_whole or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise ValueError(f"expected text or a number, found {value!r:.100}")


def _id(value: Any) -> str:
    """The name of a row, "" where it has none."""
    return "" if value is None else _text(value)


VLIR = "vlir"
READERS: Mapping[str, Callable[[Mapping], Asked]] = {
    "textvqa": _textvqa,
    "docvqa": _document,
    "infographicsvqa": _document,
    "gqa": _gqa,
    "vsr": _vsr,
    VLIR: _vlir,
}
"""How a row of each source is read; `vlir` is the published format of questions for R-GRPO, whose
rows say themselves of which data set they are."""
