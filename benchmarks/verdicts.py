"""How often r3jax and published scorers judge the same reply otherwise: a section of
docs/evaluation.md.

    python -m benchmarks.verdicts

The cases are those in tests/golden/scoring, made so that scorers differ: shares are of these, not
of what a model writes.
"""

import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import page
from r3jax import evaluate
from r3jax.evaluate import choices, replies
from r3jax.view import columns

ROOT = pathlib.Path(__file__).parents[1]
CASES = ROOT / "tests" / "golden" / "scoring"
PAGE = ROOT / "docs" / "evaluation.md"
TITLE = "Where verdicts differ"

OPTIONS = {  # scorers of options: the file of cases, and the benchmark that they are of
    "VLMEvalKit, exact matching": ("mcq_vlmevalkit_exact_matching", "MMStar"),
    "VLMEvalKit, MME-RealWorld": ("mme_realworld_vlmevalkit", "MME-RealWorld"),
    "lmms-eval, MMStar": ("mmstar_lmms_eval", "MMStar"),
    "lmms-eval, V*": ("vstar_lmms_eval", "V*"),
    "lmms-eval, MMVP": ("mmvp_lmms_eval", "MMVP"),
    "lmms-eval, CV-Bench": ("cvbench_lmms_eval", "CV-Bench"),
    "lmms-eval, ScienceQA": ("scienceqa_lmms_eval", "ScienceQA"),
    "lmms-eval, HR-Bench": ("hrbench_lmms_eval_rules", "HR-Bench"),
    "lmms-eval, MME-RealWorld": ("mme_realworld_lmms_eval", "MME-RealWorld"),
    "lmms-eval, MMMU": ("mmmu_mc_lmms_eval", "MMMU"),
}
KINDS = (
    "the answer is in `<answer>` or after thoughts, and is read there",
    "an option is said by its words, and counts",
    "a letter in lower case, in brackets, or after words counts",
    "an article, a word, one of several letters, or no reply at all is no choice",
    "another letter is meant than the first, or the one in a word",
)


def kind_of(reply: str, ours: int | None, theirs: str | None) -> str:
    """Why two readers of a reply find another option in it: one of `KINDS`."""
    if replies.answer_of(reply) != reply.strip():
        return KINDS[0]
    if ours is None:
        return KINDS[3]
    if theirs:
        return KINDS[4]
    letters = {"ABCDEFGH"[ours], "ABCDEFGH"[ours].lower()}
    by_letter = any(word.strip("()[]{}<>*`\"'.,:;!$\\") in letters for word in reply.split())
    return KINDS[2] if by_letter else KINDS[1]


def of_options() -> Iterator[tuple[str, int, Counter]]:
    """Of each scorer of options, how many cases it has a verdict on, and differences by kind."""
    for name, (file, benchmark) in OPTIONS.items():
        judged = [case for case in _cases(file) if case.get("expected_score") is not None]
        kinds = Counter()
        for case in judged:
            sample = {"answer": case["reference"], "choices": case["choices"]}
            if evaluate.score(benchmark, case["prediction"], sample) != case["expected_score"]:
                ours = choices.chosen(case["prediction"], case["choices"])
                kinds[kind_of(case["prediction"], ours, case.get("expected_parsed"))] += 1
        yield name, len(judged), kinds


def of_others() -> Iterator[tuple[str, int, int]]:
    """Of each other published scorer, how many cases it has a verdict on, and how many differ."""

    def compared(file: str, benchmark: str, theirs: Callable[[Mapping], Any], more=()) -> tuple:
        differ = judged = 0
        for case in _cases(file):
            verdict = theirs(case)
            if verdict is None or isinstance(verdict, str) or case.get("references") == []:
                continue
            references = case["reference"] if "reference" in case else case["references"]
            name = "answers" if isinstance(references, list) else "answer"
            sample = {name: references, **{field: case.get(field) for field in more}}
            if "options" in case:
                sample["choices"] = case["options"]
            judged += 1
            found = evaluate.score(benchmark, case["prediction"], sample)
            differ += abs(found - float(verdict)) > 1e-9
        return judged, differ

    def of(field: str, inside: str = "") -> Callable[[Mapping], Any]:
        return lambda case: case[field][inside] if inside else case[field]

    vista = ("choices", "question_type", "answer_type", "precision")
    for name, given in {
        "lmms-eval, ANLS": ("docvqa_infovqa_anls", "DocVQA", of("expected_lmms_eval")),
        "VLMEvalKit, ANLS": ("docvqa_infovqa_anls", "DocVQA", of("expected_vlmevalkit")),
        "lmms-eval, TextVQA": ("textvqa_soft_accuracy", "TextVQA", of("expected_lmms_eval")),
        "VLMEvalKit, TextVQA": ("textvqa_soft_accuracy", "TextVQA", of("expected_vlmevalkit")),
        "lmms-eval, GQA": ("gqa_exact_match", "GQA", of("expected_lmms_eval")),
        "VLMEvalKit, GQA": ("gqa_exact_match", "GQA", of("expected_vlmevalkit")),
        "VLMEvalKit, yes or no": (
            "hallusion_yesno", "HallusionBench", of("expected_vlmevalkit_score"),
        ),
        "lmms-eval, yes or no": (
            "hallusion_yesno", "HallusionBench", of("expected_lmms_intern_score"),
        ),
        "MMMU, open questions": ("mmmu_open", "MMMU", of("expected_score")),
        "lmms-eval, MathVision": ("mathvision", "MathVision", of("expected_lmms_eval_head")),
        "VLMEvalKit, MathVision": ("mathvision", "MathVision", of("expected_vlmevalkit")),
        "lmms-eval, MathVista": (
            "mathvista", "MathVista", of("expected_lmms_eval", "correct"), vista,
        ),
        "VLMEvalKit, MathVista": (
            "mathvista", "MathVista", of("expected_vlmevalkit", "correct"), vista,
        ),
    }.items():  # fmt: skip
        yield name, *compared(*given)


def text() -> str:
    """The section."""
    return "\n".join(
        [
            "`python -m benchmarks.verdicts` counts them on the cases in `tests/golden/scoring`,",
            "which were made so that scorers differ: shares are of these, not of what is written.",
            "Where a published scorer has no verdict (it would ask a language model), none counts.",
            "",
            *_table(),
            "",
            *columns.aligned(
                [
                    ("other scorers", "cases", "differ"),
                    *(
                        (name, str(count), _share(differ, count))
                        for name, count, differ in of_others()
                    ),
                ]
            ),
        ]
    )


def _table() -> list[str]:
    found = list(of_options())
    head = ("options are read by", "cases", *(f"({number})" for number in range(1, len(KINDS) + 1)))
    rows = [
        (name, str(count), *(_share(kinds[kind], count) for kind in KINDS))
        for name, count, kinds in found
    ]
    listed = [f"{number}. {kind};" for number, kind in enumerate(KINDS, 1)]
    return [
        *columns.aligned([head, *rows]),
        "",
        "Here",
        "",
        *listed[:-1],
        listed[-1][:-1] + ".",
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if part else ""


def _cases(name: str) -> list[dict]:
    return json.loads((CASES / f"{name}.json").read_text("utf-8"))["cases"]


if __name__ == "__main__":
    page.write_section(PAGE, TITLE, text())
