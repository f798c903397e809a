"""From scored rows to the numbers that papers report, in percent.

A row is a mapping with `score`, 0 to 1, and the fields by which a benchmark groups; logs of other
programs, which call a score `is_correct`, `gpt_score` or `right`, do as well.
"""

import contextlib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from r3jax.evaluate import accuracy

Row = Mapping[str, Any]
SCORES = ("score", "is_correct", "gpt_score", "right")


def score_of(row: Row) -> float:
    """The score of a row. Raises: ValueError where it has none."""
    found = next((row[name] for name in SCORES if row.get(name) is not None), None)
    with contextlib.suppress(TypeError, ValueError):
        if 0 <= (score := float(found)) <= 1:
            return score
    raise ValueError(f"row {dict(row)}: expected a score, as one of {', '.join(SCORES)}, 0 to 1")


def mean(rows: Sequence[Row]) -> float:
    """The mean score in percent; 0 of none."""
    return 100 * sum(map(score_of, rows)) / len(rows) if rows else 0.0


def groups(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    """Rows by a key, in the order in which keys first come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def all_right(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> float:
    """The share of groups of which every row is right, in percent."""
    whole = [all(score_of(row) == 1 for row in one) for one in groups(rows, key).values()]
    return 100 * accuracy.share(whole).value


def overall(rows: Sequence[Row]) -> dict[str, float]:
    """The mean over all rows."""
    return {"overall": mean(rows)}


def by(*fields: str) -> Callable[[Sequence[Row]], dict[str, float]]:
    """An aggregate: the mean over all rows, and over those of each value of the first of these
    fields that rows have."""

    def aggregate(rows: Sequence[Row]) -> dict[str, float]:
        field = next((name for name in fields if all(name in row for row in rows)), None)
        found = {} if field is None else groups(rows, lambda row: str(row[field]))
        return {**overall(rows), **{name: mean(part) for name, part in found.items()}}

    return aggregate


def vstar(rows: Sequence[Row]) -> dict[str, float]:
    """Over all rows, by category, and the mean of the categories."""
    found = by("category")(rows)
    parts = [value for name, value in found.items() if name != "overall"]
    return {**found, "mean_of_categories": sum(parts) / max(1, len(parts))}


def mmvp(rows: Sequence[Row]) -> dict[str, float]:
    """Single questions, and pairs of them (rows 1 and 2, 3 and 4, ...), of which both are right;
    only pairs of which both are there."""
    name = "Index" if all("Index" in row for row in rows) else "index"

    def pair(row: Row) -> int:
        index = str(row[name])
        if not re.fullmatch(r"0*[1-9]\d*(?:\.0)?", index):
            raise ValueError(f"MMVP: {name} {index}: expected a whole number from 1 on")
        return (int(float(index)) - 1) // 2

    pairs = groups(rows, pair)
    if any(len(found) > 2 for found in pairs.values()):
        raise ValueError(f"MMVP: expected two rows of each pair, found more with the same {name}")
    whole = [row for row in rows if len(pairs[pair(row)]) == 2]
    return {"accuracy": mean(rows), "pair_accuracy": all_right(whole, pair)}


def cvbench(rows: Sequence[Row]) -> dict[str, float]:
    """2D as the mean of its two sources, 3D, their mean (as Cambrian reports it), and the mean over
    rows; of files of one kind that one alone."""
    of_kind = groups(rows, lambda row: str(row["type"]).upper())
    if unknown := set(of_kind) - {"2D", "3D"}:
        raise ValueError(f"CV-Bench: type {sorted(unknown)[0]!r}: expected 2D or 3D")
    sources = groups(of_kind.get("2D", []), lambda row: row["source"])
    flat = sum(map(mean, sources.values())) / max(1, len(sources))
    kinds = {"2D": flat, "3D": mean(of_kind.get("3D", []))}
    found = {name: value for name, value in kinds.items() if name in of_kind}
    over_rows = {"2D_mean_of_rows": mean(of_kind["2D"])} if "2D" in of_kind else {}
    overall = sum(found.values()) / max(1, len(found))
    return {"overall": overall, **found, "mean_of_rows": mean(rows), **over_rows}


def hrbench(rows: Sequence[Row]) -> dict[str, float]:
    """The mean over cycles, of options that change places, of each cycle's accuracy: over all, and
    of single and cross."""

    def over_cycles(rows: Sequence[Row]) -> float:
        cycles = groups(rows, lambda row: str(row["cycle_category"])).values()
        return sum(map(mean, cycles)) / max(1, len(cycles))

    kinds = groups(rows, lambda row: row["category"])
    return {"average": over_cycles(rows), **{k: over_cycles(part) for k, part in kinds.items()}}


def mmstar(rows: Sequence[Row]) -> dict[str, float]:
    """Over rows, by category, and the mean over finer categories."""
    finer = groups(
        rows, lambda row: row["l2_category"] if "l2_category" in row else row["category"]
    )
    return {
        **by("category")(rows),
        "mean_of_l2_categories": sum(map(mean, finer.values())) / max(1, len(finer)),
    }


def mme_realworld(rows: Sequence[Row]) -> dict[str, float]:
    """Over rows, of perception and reasoning, and of each domain within them."""

    def domain(row: Row) -> str:
        kind, _, within = str(row["category"]).partition("/")
        return f"{kind}/{within or row.get('sub_category', '')}"

    kinds = groups(rows, lambda row: domain(row).partition("/")[0])
    parts = groups(rows, domain)
    return {
        **overall(rows),
        **{name: mean(part) for name, part in kinds.items()},
        **{name: mean(part) for name, part in parts.items() if not name.endswith("/")},
    }


def hallusion(rows: Sequence[Row]) -> dict[str, float]:
    """Questions (aAcc), figures of which all questions are right (fAcc), questions that are right
    about all figures (qAcc), and the mean of the three, which is mostly reported.

    Figure 0 of VS, which stands for no figure, counts in no fAcc.
    """

    def key(*names: str) -> Callable[[Row], Hashable]:
        return lambda row: tuple(str(row[name]) for name in ("category", "subcategory", *names))

    shown = [row for row in rows if (row["category"], str(row["figure_id"])) != ("VS", "0")]
    found = {
        "aAcc": mean(rows),
        "fAcc": all_right(shown, key("set_id", "figure_id")),
        "qAcc": all_right(rows, key("set_id", "question_id")),
    }
    return {**found, "avg": sum(found.values()) / 3}
