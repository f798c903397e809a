"""Rows of benchmarks whose answers are words, numbers, yes or no."""

import re
from collections.abc import Mapping, Sequence

from r3jax.data.tables import TableError, TableRow
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

IMAGE = ("decoded_image", "image", "image_path")
_QUERY = re.compile(r"(?:.*\n)?Question:\s*(.*?)(?:\s*\nChoices:.*)?", re.DOTALL)
_DECIMALS = re.compile(r"with (one|two|three) decimal")
_KINDS = {"integer": Asked.INTEGER, "float": Asked.FLOAT, "list": Asked.LIST}


def docvqa(row: TableRow) -> Item:
    """DocVQA and InfographicVQA: questions with `answers`, any of which is right."""
    answers = _answers(row)
    shown, asked = pictures(row, *IMAGE), text(row, "question")
    id = needed(row, "questionId", "question_id", "index")
    return make_item(row, id, asked, shown, Asked.PHRASE, {"answers": answers})


def textvqa(row: TableRow) -> Item:
    """TextVQA: the answers of ten people."""
    answers = _answers(row)
    shown, asked = pictures(row, *IMAGE), text(row, "question")
    id = needed(row, "question_id", "index")
    return make_item(row, id, asked, shown, Asked.PHRASE, {"answers": answers})


def gqa(row: TableRow) -> Item:
    """GQA: a word or two."""
    sample = {"answer": text(row, "answer")}
    id, asked = needed(row, "id", "index"), text(row, "question")
    return make_item(row, id, asked, pictures(row, *IMAGE), Asked.PHRASE, sample)


def vsr(row: TableRow) -> Item:
    """VSR: a `caption` and whether it is true of the image (1 or 0), or a question about it."""
    sample = {"answer": text(row, "label", "answer"), **fields(row, "relation")}
    if (caption := value(row, "caption")) is not None:
        asked = f'Is this statement true of the image? "{str(caption).strip()}"'
    else:
        asked = text(row, "question")
    id = value(row, "id", "index", default=row.number)
    return make_item(row, id, asked, pictures(row, *IMAGE), Asked.YES_NO, sample)


def hallusionbench(row: TableRow) -> Item:
    """HallusionBench: yes (1) or no (0); questions without a figure have no image."""
    group = _hallusion_group(row)
    sample = {"answer": text(row, "gt_answer", "answer"), **group}
    shown = value(row, "visual_input") != "0"
    images = pictures(row, *IMAGE, "filename") if shown else []
    return make_item(
        row, "_".join(group.values()), text(row, "question"), images, Asked.YES_NO, sample
    )


def _hallusion_group(row: TableRow) -> Mapping[str, str]:
    names = ("category", "subcategory", "set_id", "figure_id", "question_id")
    if value(row, "set_id") is not None:
        return {name: text(row, name) for name in names}
    parts = text(row, "index").split("_")  # something, category, subcategory, set, figure, question
    if len(parts) < 6:
        raise TableError(
            f"{row.where}: expected 'index' as n_category_subcategory_set_figure_question, found "
            f"{value(row, 'index')!r}"
        )
    return dict(zip(names, (parts[1], "_".join(parts[2:-3]), *parts[-3:])))


def mathvista(row: TableRow) -> Item:
    """MathVista: an option, a number to some precision, a list, or words."""
    query = text(row, "question") if value(row, "pid") is not None else _query(row)
    unit = value(row, "unit")
    asked = f"{query} (Unit: {unit})" if unit else query
    group = (
        {"task": (value(row, "metadata", default={}) or {}).get("task")}
        if "metadata" in row.values
        else fields(row, "task")
    )
    id, shown = needed(row, "pid", "index"), pictures(row, *IMAGE)
    options = listed(value(row, "choices"))
    if options:
        answer = value(row, "answer_option") or _number_of(text(row, "answer"), options)
        kinds = {"question_type": "multi_choice", "answer_type": "text"}
        return option_item(row, id, asked, options, answer, shown, **kinds, **group)
    kind = text(row, "answer_type")
    sample = {
        "answer": text(row, "answer"),
        "question_type": "free_form",
        "answer_type": kind,
        **({"precision": precision} if (precision := _precision(row)) is not None else {}),
        **({"unit": unit} if unit else {}),
        **group,
    }
    return make_item(row, id, asked, shown, _KINDS.get(kind, Asked.PHRASE), sample)


def _number_of(answer: str, options: Sequence[str]) -> str | int:
    """The number of the option with these words, or the answer itself, which is its letter."""
    words = [one.strip() for one in options]
    return words.index(answer) if answer in words else answer


def _query(row: TableRow) -> str:
    """The question within what VLMEvalKit's table has of it, with hint and choices around it."""
    whole = text(row, "question")
    found = _QUERY.fullmatch(whole)
    return found[1].strip() if found else whole


def _precision(row: TableRow) -> float | None:
    found = value(row, "precision")
    if found is not None:
        return float(found)
    hint = _DECIMALS.search(str(value(row, "question", default="")))
    return None if hint is None else float(("one", "two", "three").index(hint[1]) + 1)


def mathvision(row: TableRow) -> Item:
    """MathVision: one of five options, or an expression."""
    group = fields(row, "subject") or fields(row, subject="category")
    group |= fields(row, "level")
    id, asked = needed(row, "id", "index"), text(row, "question")
    options, answer = listed(value(row, "options", "choices")) or lettered(row), text(row, "answer")
    shown = pictures(row, *IMAGE)
    if options:
        return option_item(row, id, asked, options, answer, shown, **group)
    return make_item(row, id, asked, shown, Asked.VALUE, {"answer": answer, **group})


def mmk12(row: TableRow) -> Item:
    """MMK12: an expression, a number or words."""
    sample = {"answer": text(row, "answer"), **fields(row, "subject")}
    id, shown = value(row, "id", "index", default=row.number), pictures(row, *IMAGE)
    return make_item(row, id, text(row, "question"), shown, Asked.VALUE, sample)


def _answers(row: TableRow) -> list[str]:
    found = [one for one in listed(value(row, "answers", "answer")) if one]
    if not found:
        raise TableError(
            f"{row.where}: has no answers, as those of a test split are hidden: take the split "
            "that is for validation"
        )
    return found
