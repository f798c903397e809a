"""Rows of benchmarks that ask for one of several options."""

import re

from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import items, option_lists
from r3jax.evaluate.items import Asked, Item

IMAGE = ("image", "image_path")
OPEN = "Other Answers"  # what VLMEvalKit's tables have as B where a question of MMMU is open


def vstar(row: TableRow) -> Item:
    """V*: `text` with its options and `label`, or columns of options."""
    id, group = items.row_id(row, "question_id", "index"), items.fields(row, "category")
    stem, options = _listed_or_lettered(row, "text", "question")
    answer, shown = items.needed(row, "label", "answer"), items.pictures(row, *IMAGE)
    return items.option_item(row, id, stem, options, answer, shown, **group)


def mmvp(row: TableRow) -> Item:
    """MMVP: `Options` as "(a) Open (b) Closed"; rows count from 1, two a pair."""
    number = str(items.value(row, "Index", "index", default=row.number + 1))
    stem, options = items.text(row, "Question", "question"), _options(row, "Options", "options")
    answer = items.text(row, "Correct Answer", "answer")
    shown = items.pictures(row, *IMAGE) or [row.image(f"MMVP Images/{number}.jpg")]
    return items.option_item(row, number, stem, options, answer, shown, index=number)


def cvbench(row: TableRow) -> Item:
    """CV-Bench: `choices` and "(A)" as `answer`; images in the row or by `filename`."""
    id, kind = items.row_id(row, "idx", "index"), items.text(row, "type", "split").upper()
    group = {"type": kind, **items.fields(row, "source", "task")}
    stem, options = items.text(row, "question"), _options(row, "choices")
    answer, shown = items.text(row, "answer"), items.pictures(row, *IMAGE, "filename")
    return items.option_item(row, id, stem, options, answer, shown, **group)


def hrbench(row: TableRow) -> Item:
    """HR-Bench: each question in four rows, whose options have changed places."""
    id, group = items.row_id(row, "index"), items.fields(row, "category", "cycle_category")
    stem, options = items.text(row, "question"), items.lettered(row)
    answer, shown = items.text(row, "answer"), items.pictures(row, *IMAGE)
    return items.option_item(row, id, stem, options, answer, shown, **group)


def mmstar(row: TableRow) -> Item:
    """MMStar: options within `question`, or in columns."""
    id, group = items.row_id(row, "index"), items.fields(row, "category", "l2_category")
    group |= items.fields(row, l2_category="l2-category")
    stem, options = _listed_or_lettered(row, "question")
    answer, shown = items.text(row, "answer"), items.pictures(row, *IMAGE)
    return items.option_item(row, id, stem, options, answer, shown, **group)


def mme_realworld(row: TableRow) -> Item:
    """MME-RealWorld: `multi-choice options` "(A) ..." to "(E) ...", or columns."""
    id = items.row_id(row, "index")
    group = items.fields(row, "category", sub_category="l2-category")
    stem = items.text(row, "question")
    options = _options(row, "multi-choice options", "multi_choice_options")
    answer, shown = items.text(row, "answer"), items.pictures(row, "bytes", *IMAGE)
    return items.option_item(row, id, stem, options, answer, shown, **group)


def scienceqa(row: TableRow) -> Item:
    """ScienceQA: `choices` and the number of the right one, or columns and its letter; a hint comes
    first."""
    id = items.row_id(row, "index", "id")
    group = items.fields(row, "subject", "grade", "topic")
    hint, question = items.value(row, "hint"), items.text(row, "question")
    stem, options = f"{hint}\n{question}" if hint else question, _options(row, "choices")
    answer, shown = items.needed(row, "answer"), items.pictures(row, *IMAGE)
    return items.option_item(row, id, stem, options, answer, shown, **group)


def mmmu(row: TableRow) -> Item:
    """MMMU: up to seven images, which stand within question and options; or an open question."""
    id = items.row_id(row, "id", "index")
    named = re.fullmatch(r"(?:validation|dev|test)_(.+)_\d+", id)
    group = {"subdomain": named[1]} if named else items.fields(row, subdomain="category")
    there = [n for n in range(1, 8) if items.value(row, f"image_{n}") is not None]
    numbers = {number: place for place, number in enumerate(there, 1)} or None
    shown = [image for number in there for image in items.pictures(row, f"image_{number}")]
    shown = shown or items.pictures(row, *IMAGE)
    question = items.text(row, "question")
    options = items.lettered(row) or items.listed(items.value(row, "options"))
    is_open = OPEN in options or items.value(row, "question_type") == "open" or not options
    if is_open:
        known = options[0] if OPEN in options else items.needed(row, "answer")
        sample = {"answers": items.listed(known), "question_type": "open", **group}
        return items.make_item(row, id, question, shown, Asked.PHRASE, sample, numbers)
    answer = items.text(row, "answer")
    return items.option_item(row, id, question, options, answer, shown, numbers, **group)


def _options(row: TableRow, *names: str) -> list[str]:
    """Options in columns A, B, ..., or of the first of these columns: a list, or a text of all."""
    found = items.lettered(row) or items.listed(items.needed(row, *names))
    return found if len(found) > 1 else option_lists.options_in(found[0])


def _listed_or_lettered(row: TableRow, *names: str) -> tuple[str, list[str]]:
    """A question and its options, in columns of their own or within its text."""
    asked = items.text(row, *names)
    if options := items.lettered(row):
        return asked, options
    stem, options = option_lists.split(asked)
    if not options:
        raise TableError(f"{row.where}: expected options within {asked[:200]!r}, as (A), (B)")
    return stem, options
