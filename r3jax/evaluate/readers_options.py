"""Rows of benchmarks that ask for one of several options."""

import re

from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import choices
from r3jax.evaluate.items import (
    Asked,
    Item,
    fields,
    lettered,
    listed,
    make_item,
    needed,
    option_item,
    pictures,
    text,
    value,
)

IMAGE = ("image", "image_path")
OPEN = "Other Answers"  # what VLMEvalKit's tables have as B where a question of MMMU is open


def vstar(row: TableRow) -> Item:
    """V*: `text` with its options and `label`, or columns of options."""
    stem, options = _listed_or_lettered(row, "text", "question")
    answer, group = needed(row, "label", "answer"), fields(row, "category")
    shown = pictures(row, *IMAGE)
    return option_item(row, _id(row, "question_id", "index"), stem, options, answer, shown, **group)


def mmvp(row: TableRow) -> Item:
    """MMVP: `Options` as "(a) Open (b) Closed"; rows count from 1, two a pair."""
    number = str(value(row, "Index", "index", default=row.number + 1))
    stem = text(row, "Question", "question")
    options = lettered(row) or listed(needed(row, "Options", "options"))
    options = options if len(options) > 1 else choices.options_in(options[0])
    answer = text(row, "Correct Answer", "answer")
    if value(row, *IMAGE) is None:
        shown = [row.image(f"MMVP Images/{number}.jpg")]
    else:
        shown = pictures(row, *IMAGE)
    return option_item(row, number, stem, options, answer, shown, index=number)


def cvbench(row: TableRow) -> Item:
    """CV-Bench: `choices` and "(A)" as `answer`; images in the row or by `filename`."""
    options = lettered(row) or listed(needed(row, "choices"))
    shown = pictures(row, *IMAGE, "filename")
    kind = {"type": text(row, "type", "split").upper()}
    group = kind | fields(row, "source", "task")
    stem, answer = text(row, "question"), text(row, "answer")
    return option_item(row, _id(row, "idx", "index"), stem, options, answer, shown, **group)


def hrbench(row: TableRow) -> Item:
    """HR-Bench: each question in four rows, whose options have changed places."""
    group = fields(row, "category", "cycle_category")
    stem, answer, shown = text(row, "question"), text(row, "answer"), pictures(row, *IMAGE)
    return option_item(row, _id(row, "index"), stem, lettered(row), answer, shown, **group)


def mmstar(row: TableRow) -> Item:
    """MMStar: options within `question`, or in columns."""
    stem, options = _listed_or_lettered(row, "question")
    group = fields(row, "category", "l2_category")
    group |= fields(row, l2_category="l2-category")
    answer, shown = text(row, "answer"), pictures(row, *IMAGE)
    return option_item(row, _id(row, "index"), stem, options, answer, shown, **group)


def mme_realworld(row: TableRow) -> Item:
    """MME-RealWorld: `multi-choice options` "(A) ..." to "(E) ...", or columns."""
    options = lettered(row) or listed(needed(row, "multi-choice options", "multi_choice_options"))
    options = options if len(options) > 1 else choices.options_in(options[0])
    group = fields(row, "category", sub_category="l2-category")
    stem, answer, shown = text(row, "question"), text(row, "answer"), pictures(row, "bytes", *IMAGE)
    return option_item(row, _id(row, "index"), stem, options, answer, shown, **group)


def scienceqa(row: TableRow) -> Item:
    """ScienceQA: `choices` and the number of the right one, or columns and its letter; a hint comes
    first."""
    options = lettered(row) or listed(needed(row, "choices"))
    hint, question = value(row, "hint", default=""), text(row, "question")
    stem = f"{hint}\n{question}" if hint else question
    group = fields(row, "subject", "grade", "topic")
    answer, shown = needed(row, "answer"), pictures(row, *IMAGE)
    return option_item(row, _id(row, "index", "id"), stem, options, answer, shown, **group)


def mmmu(row: TableRow) -> Item:
    """MMMU: up to seven images, which stand within question and options; or an open question."""
    id = _id(row, "id", "index")
    named = re.fullmatch(r"(?:validation|dev|test)_(.+)_\d+", id)
    group = {"subdomain": named[1]} if named else fields(row, subdomain="category")
    there = [number for number in range(1, 8) if value(row, f"image_{number}") is not None]
    shown = [image for number in there for image in pictures(row, f"image_{number}")]
    numbers = {number: place for place, number in enumerate(there, 1)} or None
    shown = shown or pictures(row, *IMAGE)
    options = lettered(row) or listed(value(row, "options"))
    question = text(row, "question")
    if OPEN in options or value(row, "question_type") == "open" or not options:
        known = options[0] if OPEN in options else needed(row, "answer")
        sample = {"answers": listed(known), "question_type": "open", **group}
        return make_item(row, id, question, shown, Asked.PHRASE, sample, numbers)
    answer = text(row, "answer")
    return option_item(row, id, question, options, answer, shown, numbers, **group)


def _listed_or_lettered(row: TableRow, *names: str) -> tuple[str, list[str]]:
    """A question and its options, in columns of their own or within its text."""
    asked = text(row, *names)
    if options := lettered(row):
        return asked, options
    stem, options = choices.split(asked)
    if not options:
        raise TableError(f"{row.where}: expected options within {asked[:200]!r}, as (A), (B)")
    return stem, options


def _id(row: TableRow, *names: str) -> str:
    """The row's id, or its number where it has none."""
    return str(value(row, *names, default=row.number))
