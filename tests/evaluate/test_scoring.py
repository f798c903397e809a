"""Scores are those of published scorers where these agree, and of a careful reader elsewhere.

The cases in tests/golden/scoring hold what the unmodified functions of lmms-eval, VLMEvalKit and
the published VLM-R3 code gave.
"""

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax import evaluate
from r3jax.evaluate import choices, mmmu, replies, vqa

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


def test_floats_of_mathvista_are_rounded_to_their_precision_which_is_a_float_itself():
    asked = {"answer": "0.6", "question_type": "free_form", "answer_type": "float"}
    assert evaluate.score("MathVista", "0.64", {**asked, "precision": 1.0}) == 1
    assert evaluate.score("MathVista", "0.64", {**asked, "precision": 2.0}) == 0


@pytest.mark.parametrize(
    "reply, answer, options",
    [
        ("\\boxed{\\sqrt{12}}", "2\\sqrt{3}", ()),
        ("The answer is 3 apples.", "B", ("2", "3")),
        ("\\boxed{\\frac12}", "A", ("$\\frac{1}{2}$", "$\\frac{1}{3}$")),
        ("\\boxed{50\\%}", "A", ("$\\frac{1}{2}$", "$\\frac{1}{3}$")),
        ("\\boxed{2.5}", "2\\frac{1}{2}", ()),
        ("\\boxed{12cm}", "12", ()),
        ("so x is 3.46", "2\\sqrt{3}", ()),
        ("\\boxed{π/4}", "\\frac{\\pi}{4}", ()),
    ],
)
def test_mathvision_compares_values(reply, answer, options):
    assert evaluate.score("MathVision", reply, {"answer": answer, "choices": options}) == 1
    other = {"answer": "C", "choices": (*options, "19", "20")[:3]} if options else {"answer": "7"}
    assert evaluate.score("MathVision", reply, other) == 0


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


READ = {
    "A": ("answer is A) rubber", "a", "(A) rubber"),
    "B": (
        "B", "(B)", "**B**", "`B`", "Ｂ", "<B>", "/B", "\\boxed{B}", "$\\boxed{\\text{B}}$", "b",  # noqa: RUF001
        "B. cotton", "B — cotton", "cotton", "COTTON", "It is made of cotton.", "Answer:B",
        "The answer is cotton", "The answer is a glove made of cotton", "the answer is b",
        "The final answer is \\boxed{B}.", "Not A. B", "A is wrong; the answer is B", "I choose B",
        "A glove is made of cotton, so B", "A man is standing near the bus. B", "答案：B", "选B",  # noqa: RUF001
        "It is made of cotton, not leather.", "So the answer should be B rather than D",
        "B\n\nExplanation: because A is not possible.", "B, because A is not possible",
        "First, A is unlikely. Second, C is unlikely. Therefore B", "C++ is shown. B",
        "The options are (A) rubber (B) cotton (C) kevlar (D) leather. The answer is (B).",
        "A. rubber is wrong. B. cotton is right.", '{"answer": "B"}', "정답은 B", "答えはB",
        "<think>Is it A or C? Probably not.</think>\n<answer>\nB\n</answer>",
    ),
    "C": ("It could be A, but I choose C.", "Because of the ABC rule, C"),
    "D": ("Answer is d", "It is either C or D. I will go with D."),
    None: (
        "", " ", "A man is standing near the bus", "Answer is black", "Cannot determine the answer",
        "A or B", "B/C", "A, B", "Both A and B", "cotton or leather", "not cotton", "A B C D",
        "ABCD", "USA", "DNA", "Dad", "B1", "E", "Z", "dark red", "None of the above",
        "(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather", "I'm sorry, I cannot answer.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("letter, written", READ.items())
def test_a_reply_chooses_what_a_careful_reader_finds_in_it(letter, written):
    for reply in written:
        number = choices.chosen(reply, GLOVES)
        assert (None if number is None else "ABCD"[number]) == letter, reply


@pytest.mark.parametrize(
    "reply, options, number",
    [
        ("red", ("red", "dark red", "blue"), 0),
        ("It is dark red.", ("red", "dark red", "blue"), 1),
        ("A blue car", ("A red bus", "A blue car"), 1),
        ("1000", ("0", "10", "100", "1000"), 3),
        ("It is 1.", ("1", "2", "3", "4"), 0),
        ("12.5%", ("$2,616,000", "5 km", "30°", "12.5%"), 3),
        ("It is $2,616,000.", ("$2,616,000", "5 km"), 0),
        ("B", ("B", "C", "D", "A"), 1),  # a letter is a letter, whatever the options say
        ("Yes and No", ("Yes", "No"), None),
        ("$x^2$", ("\\sqrt{2}", "$x^2$"), 1),
    ],
)
def test_options_are_known_by_their_words(reply, options, number):
    assert choices.chosen(reply, options) == number


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


def test_the_answer_of_a_reply_is_in_its_last_block_or_outside_its_thoughts():
    assert replies.answer_of("<answer>A</answer><answer>B") == "A"
    assert replies.answer_of("<think>A</think>B") == "B"
    assert replies.answer_of("A</think> B") == "B"
    assert replies.answer_of("thinks <answer> cut o") == "cut o"


def test_benchmarks_are_known_by_any_spelling_and_errors_say_what_is_expected():
    for name in ("V*", "vstar_bench", "V*Bench", "VStarBench"):
        assert evaluate.score(name, "A", {"answer": "A"}) == 1
    assert evaluate.score("InfoVQA", "a", {"answers": ["a"]}) == 1
    with pytest.raises(ValueError, match=r"benchmark 'VQAv3': expected one of MathVista, .*MMK12"):
        evaluate.score("VQAv3", "A", {"answer": "A"})
    with pytest.raises(ValueError, match="expected an answer, or answers"):
        evaluate.score("DocVQA", "A", {"question": "?"})
    with pytest.raises(ValueError, match="answer 'steel' is none of the options"):
        evaluate.score("MMStar", "A", {"answer": "steel", "choices": GLOVES})
    with pytest.raises(ValueError, match="expected a score, as one of score"):
        evaluate.aggregate("GQA", [{"prediction": "A"}])


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=5))
def test_any_reply_to_any_options_is_read_without_an_error(reply, options):
    number = choices.chosen(reply, options)
    assert number is None or 0 <= number < len(options)
    for benchmark in ("MathVision", "MMK12", "MMMU", "TextVQA", "DocVQA", "VSR"):
        assert 0 <= evaluate.score(benchmark, reply, {"answer": "yes", "answers": None}) <= 1
