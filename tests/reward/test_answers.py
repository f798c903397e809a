"""Answer rules: what a careful person accepts, refuses, or would have to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.records import Verdict
from r3jax.reward import answers, expressions, normalise, quantities

RIGHT, WRONG, UNKNOWN = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN
TEXT = st.text(max_size=40)

CASES = [
    # answer, gold, source, verdict
    ("Nokia", "nokia", "textvqa", RIGHT),
    ("nokia.", "nokia", "textvqa", RIGHT),
    ("the nokia", "Nokia", "textvqa", RIGHT),
    ("samsung", "nokia", "textvqa", UNKNOWN),
    ("samsung", "nokia", "look_again", WRONG),
    ("1,000", "1000", "", RIGHT),
    ("1,2,3", "123", "", WRONG),
    ("two", "2", "", RIGHT),
    ("5", "five", "", RIGHT),
    ("twenty-one", "21", "", RIGHT),
    ("2.50", "2.5", "", RIGHT),
    ("0.5", "1/2", "", RIGHT),
    ("1", "1/2", "", WRONG),
    ("2", "1/2", "", WRONG),
    ("3", "1/2", "", WRONG),
    ("100", "50/100", "", WRONG),
    ("12/25/2012", "12/25/2012", "", RIGHT),
    ("2012", "12/25/2012", "", WRONG),
    ("12345678901234567890", "12345678901234567891", "", WRONG),
    ("- 3", "-3", "", RIGHT),
    ("3", "-3", "", WRONG),
    ("007", "7", "", UNKNOWN),
    ("12 cm", "12cm", "", RIGHT),
    ("12", "12 cm", "", RIGHT),
    ("0.12 m", "12 cm", "", UNKNOWN),
    ("$5", "5", "", RIGHT),
    ("60°", "60", "", RIGHT),
    ("60 km/h", "60 KM/H", "", RIGHT),
    ("60 km/h", "60", "", RIGHT),
    ("30 m²", "30", "", RIGHT),
    ("5 million", "5000000", "", RIGHT),
    ("5 Million", "5,000,000", "", RIGHT),
    ("5 million", "5", "", WRONG),
    ("5", "5 million", "", WRONG),
    ("1.5 billion", "1500000000", "", RIGHT),
    ("two billion", "2000000000", "", RIGHT),
    ("2 thousand", "2000", "", RIGHT),
    ("2 hundred", "200", "", RIGHT),
    ("$5k", "$5,000", "", RIGHT),
    ("5k", "5", "", WRONG),
    ("$2.5M", "2.5 million", "", RIGHT),
    ("5 million dollars", "5000000", "", RIGHT),
    ("5 km", "5000", "", WRONG),
    ("5kg", "5", "", RIGHT),
    ("5 no", "5", "", UNKNOWN),
    ("5 no", "5", "look_again", UNKNOWN),
    ("5 red", "5", "", UNKNOWN),
    ("5x", "5", "", WRONG),
    ("5 pm", "5", "", UNKNOWN),
    ("2nd", "2", "", WRONG),
    ("10:30", "10:30", "textvqa", RIGHT),
    ("10:31", "10:30", "textvqa", WRONG),
    ("red", "12", "", WRONG),
    ("B", "B/C", "", RIGHT),
    ("C", "B/C", "", RIGHT),
    ("b", "A/B", "", RIGHT),
    ("A", "B/C", "", WRONG),
    ("7up", "7 up/7up", "textvqa", RIGHT),
    ("2", "two/2", "", RIGHT),
    ("km", "km/h", "", WRONG),
    ("km/h", "km/h", "", RIGHT),
    ("n/a", "N/A", "", RIGHT),
    ("A", "N/A", "", UNKNOWN),
    ("(B)", "B", "", RIGHT),
    ("B.", "B", "", RIGHT),
    ("B. the red one", "B", "", RIGHT),
    ("The answer is B", "B", "", RIGHT),
    ("A", "(A)", "", RIGHT),
    ("A", "A. red", "", RIGHT),
    ("red", "A. red", "", RIGHT),
    ("B", "A. red", "", WRONG),
    ("A", "B", "", WRONG),
    ("(A) or (B)", "A", "", WRONG),
    ("A cat", "B", "", UNKNOWN),
    ("red", "A", "", UNKNOWN),
    ("A. 12", "A", "MMK12", RIGHT),
    ("No, it is not.", "no", "", RIGHT),
    ("Yes, there is.", "no", "", WRONG),
    ("i know nothing", "no", "", UNKNOWN),
    ("no idea", "no", "", UNKNOWN),
    ("not at all", "no", "textvqa", UNKNOWN),
    ("yes", "no", "", WRONG),
    ("It is the shop on the left of the street", "the left shop", "", UNKNOWN),
    ("", "A", "", WRONG),
    (None, "A", "", WRONG),
    ("   ", "A", "", WRONG),
    ("<answer>A</answer><answer>B</answer>", "A", "", WRONG),
    ("<answer>A</answer> <answer>B</answer>", "<answer>B</answer>", "", RIGHT),
    (r"\Delta", r"\delta", "MMK12", UNKNOWN),
    (r"\Delta", r"\Delta", "MMK12", RIGHT),
    (r"$\Delta$", r"\Delta", "MMK12", RIGHT),
    (r"$2\sqrt{3}$", r"$\sqrt{12}$", "MMK12", RIGHT),
    ("1.414", r"$\sqrt{2}$", "MMK12", WRONG),
    (r"\dfrac{3}{4}", r"\frac{3}{4}", "MMK12", RIGHT),
    (r"\frac34", r"\frac{3}{4}", "MMK12", RIGHT),
    (r"\frac 34", r"\frac{4}{3}", "MMK12", WRONG),
    (r"\mathbf{\frac{3}{4}}", "0.75", "MMK12", RIGHT),
    ("1+x^2", "$x^2+1$", "MMK12", RIGHT),
    ("y=2x+1", "y = 2x + 1", "MMK12", RIGHT),
    ("3", "$x=3$", "MMK12", RIGHT),
    (r"12^\circ", "12", "MMK12", RIGHT),
    (r"\boxed{7}", "7", "MMK12", RIGHT),
    ("9^9^9^9", "7", "MMK12", UNKNOWN),
    ("1/0", "1", "MMK12", UNKNOWN),
    ("__import__('os')", "1", "MMK12", WRONG),
    ("ÄÖ", "äö", "", RIGHT),
    ("北京", "北京", "", RIGHT),
]


@pytest.mark.parametrize(("answer", "gold", "source", "expected"), CASES)
def test_judges_as_a_careful_person_would(answer, gold, source, expected):
    assert answers.judge_by_rules(answer, gold, source) is expected


@pytest.mark.parametrize("gold", ["1/2", "50/100", "12/25/2012", "km/h", "x/2", r"\pi/2", "N/A"])
def test_a_slash_that_is_no_separator_gives_no_alternatives(gold):
    assert answers.alternatives(gold) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("U.S.A.", "usa"),
        ("5.0", "5.0"),
        ("1,000", "1000"),
        ("mens", "mens"),
        ("b/w", "b w"),
        ("{red}", "red"),
        ("x=1", "x 1"),
        ("c#", "c#"),
        ("@home", "home"),
        ("naïve", "naïve"),
        ("5°", "5°"),
        ("one-two", "1 2"),
        ("2nd", "2nd"),
        ("ellipsis...", "ellipsis"),
        ("e.g.", "eg"),
        ("st. louis", "st louis"),
        ("dr.pepper", "drpepper"),
        ("the", "the"),
    ],
)
def test_normalises_words_as_vqa_scoring_does(text, expected):
    assert " ".join(normalise.words(text)) == expected


@given(TEXT, TEXT, st.sampled_from(["", "MMK12", "gqa"]))
def test_no_text_makes_the_rules_raise_and_every_gold_accepts_itself(answer, gold, source):
    if not normalise.unwrap(gold) or "<answer>" in gold:
        return
    assert answers.judge_by_rules(answer, gold, source) in Verdict
    assert answers.judge_by_rules(gold, gold, source) is RIGHT


@given(st.text(alphabet="0123456789+-*/^(){}x\\fracsqrt. ", max_size=60))
def test_no_expression_makes_the_parser_raise(text):
    assert expressions.same_value(text, "1") in (True, False, None)


@given(st.integers(-(10**9), 10**9))
def test_thousands_separators_do_not_change_a_number(value):
    assert quantities.parse_number(f"{value:,}") == value


@pytest.mark.parametrize("gold", ['""', "$$ $$", "****"])
def test_a_gold_answer_of_nothing_but_wrappers_can_be_judged(gold):
    assert answers.judge_by_rules("A", gold, "") in Verdict


def test_an_empty_gold_answer_is_an_error():
    with pytest.raises(ValueError, match="gold answer of a question from 'gqa' is empty"):
        answers.judge_by_rules("A", " ", "gqa")
