"""Questions with answers and images, from the data sets that VLIR was made of.

Columns are those of the published files (parquet, TSV, CSV, JSON, JSONL). Where a row's image is a
name, it lies below a folder.
"""

import ast
import collections
import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r3jax.data import images
from r3jax.data.tables import TableError, TableRow

Asked = tuple[str, str, tuple[str, ...], Any]
"""What a row asks: its name in the source, the question, right answers, the image's value."""


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

    Raises: TableError for a row without what the source always has, ImageError for an image
    outside the folder.
    """
    try:
        source_id, question, answers, image = READERS[source](row.values)
        source = str(row.values["source"]) if source == VLIR else source
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
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
    """A name for a sample that files may have; of a row without one, where it stands.

    >>> sample_id("gqa", "02930152", ""), sample_id("vsr", "", "dev.jsonl, line 7")
    ('gqa-02930152', 'vsr-dev.jsonl-line-7')
    """
    name = source_id or pathlib.PurePath(where.rpartition(",")[0]).name + where.rpartition(",")[2]
    return re.sub(r"[^\w.-]+", "-", f"{source}-{name}", flags=re.ASCII)[:100]


def _textvqa(row: Mapping) -> Asked:
    """The answer that most of ten people gave, and others that three gave."""
    counts = collections.Counter(_list(row["answers"]))
    (first, most), *_ = counts.most_common(1)
    others = (text for text, count in counts.items() if count >= min(3, most) and text != first)
    return str(row["question_id"]), row["question"], (first, *others), row["image"]


def _document(row: Mapping) -> Asked:
    return str(row["questionId"]), row["question"], tuple(_list(row["answers"])), row["image"]


def _gqa(row: Mapping) -> Asked:
    image = row.get("image") or f"{row['imageId']}.jpg"
    return str(row["id"]), row["question"], (row["answer"],), image


def _vsr(row: Mapping) -> Asked:
    label = int(row["label"])
    if label not in (0, 1):
        raise ValueError(f"label {label}")
    question = f'Is this true of the image: "{row["caption"].strip()}" Answer yes or no.'
    return str(row.get("id", "")), question, ("yes" if label else "no",), row["image"]


def _vlir(row: Mapping) -> Asked:
    return str(row.get("id", "")), row["question"], (row["answer"],), row["image_path"]


def _list(value: Any) -> Sequence[str]:
    """Answers, which some files hold as the text of a list."""
    found = value
    if isinstance(value, str):
        found = ast.literal_eval(value) if value.startswith("[") else [value]
    return [str(one) for one in found]


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
