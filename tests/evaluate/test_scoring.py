"""Scores are those of published scorers where these agree, and of a careful reader elsewhere.

The cases in tests/golden/scoring hold what the unmodified functions of lmms-eval, VLMEvalKit and
the published VLM-R3 code gave.
"""

import json
import math
import pathlib
import time

import pytest

from r3jax import evaluate
from r3jax.evaluate import mmmu, vqa

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "scoring"
GLOVES = ("rubber", "cotton", "kevlar", "leather")


def cases(name: str) -> list[dict]:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))["cases"]


def sample(case: dict) -> dict:
    """A case as a sample: its fields by the names that `evaluate.score` reads."""
    answers = case["reference"] if "reference" in case else case["references"]
    name = "answers" if isinstance(answers, list) else "answer"
    fields = ("choices", "question", "question_type", "answer_type", "precision")
    given = {field: case[field] for field in fields if case.get(field) is not None}
    return {name: answers, **given} | ({"choices": case["options"]} if "options" in case else {})


def test_answers_are_normalised_as_by_evalai():
    for case in cases("vqa_normalise"):
        assert vqa.normalise(case["input"]) == case["expected_lmms_eval"], case


@pytest.mark.parametrize(
    "benchmark, name",
    [
        ("DocVQA", "docvqa_infovqa_anls"),
        ("InfographicVQA", "docvqa_infovqa_anls"),
        ("TextVQA", "textvqa_soft_accuracy"),
        ("GQA", "gqa_exact_match"),
    ],
)
def test_text_has_the_scores_of_lmms_eval(benchmark, name):
    for case in cases(name):
        if case.get("references") == [] or case["prediction"] == "!":
            continue  # an error there; and "!" is "." there, as both are nothing
        found = evaluate.score(benchmark, case["prediction"], sample(case))
        assert found == pytest.approx(case["expected_lmms_eval"], abs=1e-9), case


def test_an_answer_of_punctuation_alone_is_no_other_punctuation():
    assert evaluate.score("GQA", "!", {"answer": "!"}) == 1
    assert evaluate.score("GQA", "!", {"answer": "."}) == 0
    assert evaluate.score("GQA", "", {"answer": "."}) == 0


def test_a_long_reply_to_a_document_is_as_far_off_as_its_length_says_in_no_time():
    began = time.monotonic()
    assert evaluate.score("DocVQA", "x" * 100_000, {"answers": ["x" * 3_000] * 10}) == 0
    assert time.monotonic() - began < 1
    assert evaluate.score("DocVQA", "ab" * 10, {"answers": ["a" * 10]}) == 0.5


def test_yes_and_no_are_read_as_both_published_scorers_do_where_they_agree():
    for case in cases("hallusion_yesno"):
        found = evaluate.score("HallusionBench", case["prediction"], sample(case))
        if case["agree"]:
            assert found == case["expected_vlmevalkit_score"], case


def test_mathvista_has_the_verdicts_that_published_scorers_agree_on():
    """But for replies that a language model reads first, where what it read is another text."""
    for case in cases("mathvista"):
        verdict = case["expected_lmms_eval"]["correct"]
        read_otherwise = case["judge_output"] not in (None, case["prediction"])
        if not case["agree"] or verdict is None or read_otherwise:
            continue
        assert evaluate.score("MathVista", case["prediction"], sample(case)) == verdict, case


def test_mathvision_has_the_verdicts_of_lmms_eval_where_it_finds_an_answer_right():
    for case in cases("mathvision"):
        if case["expected_lmms_eval_head"]:
            assert evaluate.score("MathVision", case["prediction"], sample(case)) == 1, case


def test_open_questions_of_mmmu_are_judged_by_its_published_rules():
    for case in cases("mmmu_open"):
        found = evaluate.score(
            "MMMU", case["prediction"], {**sample(case), "question_type": "open"}
        )
        assert found == case["expected_score"], case
        read = sorted(map(repr, mmmu.candidates(case["prediction"])))
        assert read == sorted(case["expected_parsed_set"]), case


@pytest.mark.parametrize(
    "reply, read",
    [
        ("x = 1.2.3", {"1.2.3", 1.2, 0.3}),  # a point opens a number, digits before it or not
        ("It could be 12,34 is \nso 5", {5.0}),  # a key word at the end leaves nothing of its line
        ("so 7 is \nThe total: 8", {"so 7 is \nthe total: 8", 7.0, 8.0}),
    ],
)
def test_odd_replies_to_open_questions_are_read_as_mmmu_reads_them(reply, read):
    assert mmmu.candidates(reply) == read


def test_plain_letters_have_the_verdicts_of_published_scorers():
    plain = {"A", "B", "C", "D", "(A)", "(B)", "B.", "The answer is (B)."}
    for name in ("mcq_vlmevalkit_exact_matching", "mmstar_lmms_eval", "hrbench_lmms_eval_rules"):
        for case in cases(name):
            if case["prediction"] in plain and case["expected_score"] is not None:
                found = evaluate.score("MMStar", case["prediction"], sample(case))
                assert found == case["expected_score"], case


def test_the_logs_of_the_published_model_have_its_published_scores():
    logs = cases("vlmr3_golden_logs")

    def reported(benchmark: str) -> dict:
        rows = [
            {**log, "score": evaluate.score(benchmark, log["full_response"], sample(log)),
             "index": log["iteration"]}
            for log in logs
            if log["benchmark"] == benchmark
        ]  # fmt: skip
        assert all(row["score"] == row["reward"] for row in rows)
        return {
            name: round(value, 2) for name, value in evaluate.aggregate(benchmark, rows).items()
        }

    assert reported("MMVP") == {"accuracy": 75.0, "pair_accuracy": 52.0}
    assert reported("V*Bench") == {
        "overall": 84.29,
        "direct_attributes": 86.96,
        "relative_position": 80.26,
        "mean_of_categories": 83.61,
    }


NAMES = {  # of published aggregates, and ours
    "mmvp": {"accuracy": "accuracy", "pair_accuracy": "pair_accuracy"},
    "vstar": {name: name for name in ("overall", "direct_attributes", "relative_position")},
    "cvbench": {
        "cambrian_formula": "overall",
        "vlmevalkit_2d_source_macro": "2D",
        "vlmevalkit_3d": "3D",
        "lmms_default_micro_all": "mean_of_rows",
        "lmms_2d_micro": "2D_mean_of_rows",
    },
    "hrbench": {name: name for name in ("single", "cross", "average")},
    "mmmu": {"Overall": "overall"},
    "mme_realworld": {"overall": "overall"},
}


def as_rows(case: dict) -> list[dict]:
    """The items of a case with the score that each has."""
    items = case["items"]
    if "per_item_correct" in case:
        return [{**item, "score": right} for item, right in zip(items, case["per_item_correct"])]
    said = {
        "mmmu": lambda item: item["parsed_pred"][0],
        "mme_realworld": lambda i: i["pred_answer"],
    }
    if case["kind"] in said:
        read = said[case["kind"]]
        return [{**item, "score": read(item) == item["answer"]} for item in items]
    return items


def test_aggregates_are_those_that_are_reported():
    for case in cases("aggregations"):
        if case["items"] is None:
            continue
        found = evaluate.aggregate(case["kind"], as_rows(case))
        percent = 1 if case["kind"] == "vstar" else 100
        for theirs, ours in NAMES[case["kind"]].items():
            wanted = percent * case["expected"][theirs]
            assert found[ours] == pytest.approx(wanted, abs=1e-3), (case["id"], theirs)


def test_pairs_of_mmvp_count_where_both_rows_are_there():
    rows = [{"Index": number, "score": number != 2} for number in (4, 1, 3, 2, 5)]
    assert evaluate.aggregate("MMVP", rows) == {"accuracy": 80.0, "pair_accuracy": 50.0}
    with pytest.raises(ValueError, match="MMVP: Index 0: expected a whole number from 1 on"):
        evaluate.aggregate("MMVP", [{"Index": 0, "score": 1}, {"Index": 1, "score": 1}])
    with pytest.raises(ValueError, match="expected two rows of each pair"):
        evaluate.aggregate("MMVP", [{"index": 1, "score": 1}] * 3)


def test_hallusion_bench_is_counted_by_questions_figures_and_both():
    for case in cases("hallusion_aggregate"):
        if not case.get("agree"):
            continue
        rows = [
            {
                **row,
                "score": evaluate.score(
                    "HallusionBench", row["pred"], {"answer": row["gt_answer"]}
                ),
            }
            for row in case["rows"]
        ]
        assert evaluate.aggregate("HallusionBench", rows) == pytest.approx(case["expected"])


def test_benchmarks_are_known_by_any_spelling_and_errors_say_what_is_expected():
    spelt = "V*, vstar_bench, V*Bench, VStarBench, HR-Bench 4K/8K, hrbench_8k, ScienceQA (IMG)"
    for name in f"{spelt}, MME-RealWorld-Lite, MMMU_DEV_VAL, MMVP, cv_bench".split(", "):
        assert evaluate.score(name, "A", {"answer": "A", "choices": ["x", "y"]}) == 1
    with pytest.raises(ValueError, match="benchmark 'MMMU-Pro': expected one of"):
        evaluate.score("MMMU-Pro", "A", {"answer": "A"})
    assert evaluate.score("InfoVQA", "a", {"answers": ["a"]}) == 1
    with pytest.raises(ValueError, match=r"benchmark 'VQAv3': expected one of MathVista, .*MMK12"):
        evaluate.score("VQAv3", "A", {"answer": "A"})
    with pytest.raises(ValueError, match="expected an answer, or answers"):
        evaluate.score("DocVQA", "A", {"question": "?"})
    with pytest.raises(ValueError, match="answer 'steel' is none of the options"):
        evaluate.score("MMStar", "A", {"answer": "steel", "choices": GLOVES})
    for row in ({"prediction": "A"}, {"score": float("nan")}, {"score": "right"}, {"score": 100}):
        with pytest.raises(ValueError, match="expected a score, as one of score"):
            evaluate.aggregate("GQA", [row])
    with pytest.raises(ValueError, match="CV-Bench: type '4D': expected 2D or 3D"):
        evaluate.aggregate("CV-Bench", [{"type": "4D", "source": "COCO", "score": 1}])


def test_a_sample_from_a_table_with_gaps_is_scored_and_what_it_lacks_is_said():
    gaps = dict.fromkeys(("choices", "question", "question_type", "unit", "precision"), math.nan)
    assert evaluate.score("MathVista", "2", {**gaps, "answer": "2", "answer_type": "integer"}) == 1
    assert evaluate.score("ScienceQA", "B", {"answer": 1.0, "choices": ["red", "blue"]}) == 1
    with pytest.raises(ValueError, match="answer 'blue' is no letter, and the sample has no choi"):
        evaluate.score("MMStar", "B", {**gaps, "answer": "blue"})
    with pytest.raises(ValueError, match="expected an answer, or answers"):
        evaluate.score("GQA", "B", {"answer": math.nan})
    with pytest.raises(ValueError, match="choices 3: expected a list of texts"):
        evaluate.score("MMStar", "B", {"answer": "B", "choices": 3})
    with pytest.raises(ValueError, match="GQA: prediction None: expected text"):
        evaluate.score("GQA", None, {"answer": "B"})
