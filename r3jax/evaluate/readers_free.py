"""Rows of benchmarks whose answers are words, numbers, yes or no."""

import re
from collections.abc import Mapping, Sequence

from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import items
from r3jax.evaluate.items import Asked, Item

IMAGE = ("decoded_image", "image", "image_path")
_QUERY = re.compile(r"(?:.*\n)?Question:\s*(.*?)(?:\s*\nChoices:.*)?", re.DOTALL)
_DECIMALS = re.compile(r"with (one|two|three) decimal")
_KINDS = {"integer": Asked.INTEGER, "float": Asked.FLOAT, "list": Asked.LIST}


def documents(row: TableRow) -> Item:
    """DocVQA, InfographicVQA and TextVQA: questions with the `answers` of several people."""
    answers = _answers(row)
    shown, asked = items.pictures(row, *IMAGE), items.text(row, "question")
    id = items.needed(row, "questionId", "question_id", "index")
    return items.make_item(row, id, asked, shown, Asked.PHRASE, {"answers": answers})


def gqa(row: TableRow) -> Item:
    """GQA: a word or two."""
    sample = {"answer": items.text(row, "answer")}
    id, asked = items.needed(row, "id", "index"), items.text(row, "question")
    return items.make_item(row, id, asked, items.pictures(row, *IMAGE), Asked.PHRASE, sample)


def vsr(row: TableRow) -> Item:
    """VSR: a `caption` and whether it is true of the image (1 or 0), or a question about it."""
    sample = {"answer": items.text(row, "label", "answer"), **items.fields(row, "relation")}
    if (caption := items.value(row, "caption")) is not None:
        asked = f'Is this statement true of the image? "{str(caption).strip()}"'
    else:
        asked = items.text(row, "question")
    id = items.row_id(row, "id", "index")
    return items.make_item(row, id, asked, items.pictures(row, *IMAGE), Asked.YES_NO, sample)


def hallusionbench(row: TableRow) -> Item:
    """HallusionBench: yes (1) or no (0); questions without a figure have no image."""
    group = _hallusion_group(row)
    sample = {"answer": items.text(row, "gt_answer", "answer"), **group}
    has_figure = str(items.value(row, "visual_input")) != "0"
    shown = items.pictures(row, *IMAGE, "filename") if has_figure else []
    id, asked = "_".join(group.values()), items.text(row, "question")
    return items.make_item(row, id, asked, shown, Asked.YES_NO, sample)


def _hallusion_group(row: TableRow) -> Mapping[str, str]:
    names = ("category", "subcategory", "set_id", "figure_id", "question_id")
    if items.value(row, "set_id") is not None:
        return {name: items.text(row, name) for name in names}
    index = items.text(row, "index")  # something_category_subcategory_set_figure_question
    parts = index.split("_")
    if len(parts) < 6:
        raise TableError(
            f"{row.where}: expected 'index' as n_category_subcategory_set_figure_question, found "
            f"{index!r}"
        )
    return dict(zip(names, (parts[1], "_".join(parts[2:-3]), *parts[-3:])))


def mathvista(row: TableRow) -> Item:
    """MathVista: an option, a number to some precision, a list, or words."""
    id, shown = items.needed(row, "pid", "index"), items.pictures(row, *IMAGE)
    query = items.text(row, "question") if items.value(row, "pid") is not None else _query(row)
    unit, metadata = items.value(row, "unit"), items.value(row, "metadata")
    asked = f"{query} (Unit: {unit})" if unit else query
    group = {"task": metadata["task"]} if metadata else items.fields(row, "task")
    if options := items.listed(items.value(row, "choices")):
        answer = items.value(row, "answer_option")
        answer = answer or _number_of(items.text(row, "answer"), options)
        kinds = {"question_type": "multi_choice", "answer_type": "text"}
        return items.option_item(row, id, asked, options, answer, shown, **kinds, **group)
    kind, precision = items.text(row, "answer_type"), _precision(row)
    sample = {
        "answer": items.text(row, "answer"),
        "question_type": "free_form",
        "answer_type": kind,
        **({"precision": precision} if precision is not None else {}),
        **({"unit": unit} if unit else {}),
        **group,
    }
    return items.make_item(row, id, asked, shown, _KINDS.get(kind, Asked.PHRASE), sample)


def _number_of(answer: str, options: Sequence[str]) -> str | int:
    """The number of the option with these words, or the answer itself, which is its letter."""
    words = [one.strip() for one in options]
    return words.index(answer) if answer in words else answer


def _query(row: TableRow) -> str:
    """The question within what VLMEvalKit's table has of it, with hint and choices around it."""
    whole = items.text(row, "question")
    found = _QUERY.fullmatch(whole)
    return found[1].strip() if found else whole


def _precision(row: TableRow) -> float | None:
    found = items.value(row, "precision")
    if found is not None:
        return float(found)
    hint = _DECIMALS.search(str(items.value(row, "question", default="")))
    return None if hint is None else float(("one", "two", "three").index(hint[1]) + 1)


def mathvision(row: TableRow) -> Item:
    """MathVision: one of five options, or an expression."""
    group = items.fields(row, "subject") or items.fields(row, subject="category")
    group |= items.fields(row, "level")
    id, asked = items.needed(row, "id", "index"), items.text(row, "question")
    options = items.listed(items.value(row, "options", "choices")) or items.lettered(row)
    answer, shown = items.text(row, "answer"), items.pictures(row, *IMAGE)
    if options:
        return items.option_item(row, id, asked, options, answer, shown, **group)
    return items.make_item(row, id, asked, shown, Asked.VALUE, {"answer": answer, **group})


def mmk12(row: TableRow) -> Item:
    """MMK12: an expression, a number or words."""
    sample = {"answer": items.text(row, "answer"), **items.fields(row, "subject")}
    id, shown = items.row_id(row, "id", "index"), items.pictures(row, *IMAGE)
    return items.make_item(row, id, items.text(row, "question"), shown, Asked.VALUE, sample)


def _answers(row: TableRow) -> list[str]:
    found = [one for one in items.listed(items.value(row, "answers", "answer")) if one]
    if not found:
        raise TableError(
            f"{row.where}: has no answers, as those of a test split are hidden: take the split "
            "that is for validation"
        )
    return found
