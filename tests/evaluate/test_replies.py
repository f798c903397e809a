"""What is read in a reply: options, yes and no, numbers, expressions, as a careful reader does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax import evaluate
from r3jax.evaluate import choices, option_lists, replies

GLOVES = ("rubber", "cotton", "kevlar", "leather")


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


@pytest.mark.parametrize("benchmark", ["MathVision", "MMK12", "MathVista"])
@pytest.mark.parametrize(
    "reply, right",
    [
        ("<think>t</think>12", 1),
        ("The answer is $\\boxed{12}$.", 1),
        ("The answer is **12**.", 1),
        ("12 or 13", 0),
        ("12 to 15", 0),
        ("12 million", 0),
        ("13", 0),
    ],
)
def test_a_number_is_read_in_a_reply(benchmark, reply, right):
    asked = {"answer": "12", "answer_type": "integer", "question_type": "free_form"}
    assert evaluate.score(benchmark, reply, asked) == right


@pytest.mark.parametrize(
    "reply, answer",
    [
        ("(1, 2)", "(1,2)"),
        ("\\left(1,2\\right)", "(1,2)"),
        ("1{,}000", "1000"),
        ("2 1/2", "2.5"),
        ("\\boxed{12\\%}", "12"),
        ("\\boxed{AB = 12}", "12"),
        ("12\\,\\text{cm}", "12"),
        ("\\boxed{\\sqrt{3} \\approx 1.73}", "\\sqrt{3}"),
        ("monday", "Monday"),
        ("2\\sqrt{3}\\text{ cm}^2", "2\\sqrt{3}"),
        ("\\frac{1}{2} cm", "0.5"),
        ("The answer should be \\pi", "\\pi"),
        ("\\mathbf{\\frac{1}{2}}", "0.5"),
        ("12.0\\%", "12"),
        ("1/2\nBecause it is half.", "0.5"),
        ("We add 2 and 3:\n\n$5$", "5"),
        ("There are 5 ways.", "5"),
        ("**Answer:** 72", "72"),
        ("**Answer**: **72**", "72"),
        ("It equals 72", "72"),
    ],
)
def test_expressions_are_the_same_however_they_are_set(reply, answer):
    assert evaluate.score("MathVision", reply, {"answer": answer}) == 1
    assert evaluate.score("MathVision", reply, {"answer": "17"}) == 0


def test_the_last_line_is_the_answer_and_the_first_only_where_words_follow():
    for benchmark in ("MathVision", "MMK12"):
        assert evaluate.score(benchmark, "12\n13", {"answer": "13"}) == 1
        assert evaluate.score(benchmark, "12\n13", {"answer": "12"}) == 0
        assert evaluate.score(benchmark, "x = 12\nso it is 13", {"answer": "12"}) == 0
    vista = {"answer_type": "integer", "question_type": "free_form", "answer": "8"}
    assert evaluate.score("MathVista", "There are 3 and 5 of them.\n8", vista) == 1
    named = {"answer": "C", "choices": ["2", "3", "4"]}
    assert evaluate.score("MathVision", "C\nAll others are too small.", named) == 1


def test_a_number_needs_no_unit_and_has_no_other_one():
    said = ("The length is 12 cm.", 1), ("It is 12.", 1), ("The length is 12 m.", 0)
    for reply, right in (("12cm", 1), ("12 cm", 1), ("12", 1), ("12 m", 0), ("13", 0), *said):
        assert evaluate.score("MMK12", reply, {"answer": "12 cm"}) == right, reply


def test_a_number_within_another_is_no_option():
    asked = {"answer": "B", "choices": ["2", "3", "4"]}
    for reply in ("\\boxed{1/3}", "\\boxed{\\sqrt{3}}", "\\boxed{3\\pi}", "-3", "3:1", "3%", "0.3"):
        assert evaluate.score("MathVision", reply, asked) == 0, reply
    assert evaluate.score("MathVision", "3", asked) == 1


def test_yes_is_decisive_where_it_opens_a_reply_or_is_said_to_be_the_answer():
    for reply in (
        "Yes\nThere is no difference.",
        "**Yes**, there is none.",
        "Answer: yes. No dog.",
        "Yes\n\nNo other reason is needed.",
    ):
        assert evaluate.score("VSR", reply, {"answer": "yes"}) == 1, reply
    for reply in ("Yes, no, maybe.", "Yes, and no.", "No, yes", "yes.no"):
        assert evaluate.score("VSR", reply, {"answer": "yes"}) == 0, reply
    assert evaluate.score("VSR", "No.It is not there.", {"answer": "no"}) == 1
    assert evaluate.score("VSR", "See no.5", {"answer": "no"}) == 0
    named = {"answer": "A", "choices": ["Yes", "No"]}
    assert evaluate.score("MMStar", "Yes, there is no error.", named) == 1


def test_options_are_read_out_of_the_questions_of_data_sets():
    listed = "x\nA. red\nB. blue\nAnswer with the option's letter from the given choices directly."
    assert option_lists.options_in(listed) == ["red", "blue"]
    assert option_lists.options_in("Options: A: red, B: blue, C: green") == ["red", "blue", "green"]
    assert option_lists.options_in("(A)foo\n(B)bar") == ["foo", "bar"]
    assert option_lists.options_in("What is it?") == []
    given = {"answer": "A", "choices": ["(A) red", "(B) blue"]}
    assert evaluate.score("MME-RealWorld", "red", given) == 1


@pytest.mark.parametrize(
    "unit", ["(A) ", "1 ", "answer ", "$", "*", "<think>", "cotton ", "1", "\\frac"]
)
def test_long_replies_are_read_in_no_time(unit):
    began = time.monotonic()
    reply = unit * (100_000 // len(unit))
    choices.chosen(reply, GLOVES)
    for benchmark in ("MathVision", "MMK12", "MMMU", "VSR"):
        evaluate.score(benchmark, reply, {"answer": "yes"})
    assert time.monotonic() - began < 20  # a second, where nothing else runs


READ = {
    "A": (
        "answer is A) rubber", "a", "(A) rubber", "A\n\nThe glove is shiny.", "A for sure",
        "The answer is A\nThe glove is shiny", "Answer: A\nBecause cotton would look different.",
        "The answer is A based on the shine", "It's A I think", "a\nThe glove is shiny.",
    ),
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
        "The correct answer is B. Option A is wrong because rubber is shiny.",
        "B. It is not shiny.",
        "Option A is incorrect. Option B is correct. Option C is incorrect.", "option b is correct",
        "The answer is: (B) cotton. The options (A) rubber and (C) kevlar are incorrect.",
        "B because it is not shiny", "**B** since A is wrong", "It can't be A, so B", "__B__",
        "the answer is b because it is woven", "{'answer': 'B'}", "A can be ruled out. B",
        "It is B because leather is not woven", "<thinking>It is A</thinking>B",
        "<think>put it in <answer></answer>.</think>\n\nThe answer is B",
        "Both A and C are possible, but B is the correct answer.", "A or B, but B is better.",
        "First I thought A, but on reflection B.", "A is too shiny, C is too stiff. Hence B.",
        "Eliminate A. B remains.", "A is excluded, so **B**.", "The left one is C, so (B)",
        "**B) cotton**\n\nIt is not like C.", "B. cotton\nReason: it is soft, unlike A. rubber.",
        "I doubt whether A is right. B is right.", "A, C and D can be eliminated. It must be B",
    ),
    "C": (
        "It could be A, but I choose C.", "Because of the ABC rule, C",
        "The answer cannot be A, so it must be C.",
        "The answer is C. D is not right since it is not brown.",
    ),
    "D": (
        "Answer is d", "It is either C or D. I will go with D.",
        "The glove is not made of cotton, it is leather",
    ),
    None: (
        "", " ", "A man is standing near the bus", "Answer is black", "Cannot determine the answer",
        "A or B", "B/C", "A, B", "Both A and B", "cotton or leather", "not cotton", "A B C D",
        "ABCD", "USA", "DNA", "Dad", "B1", "E", "Z", "dark red", "None of the above",
        "(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather", "I'm sorry, I cannot answer.",
        "Option B or option C", "cotton is not the material", "cotton is unlikely", "no rubber",
        "it cannot be cotton", "not rubber or cotton", "Not A or B", "I can't choose B", "不选A",
        "It isn\u2019t rubber.", "so A, B or C", "B is right of A", "A is correct, B is correct",
        "The answers are A, B", "Answer: B or maybe C",
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
        ("The options are red, blue and green. The car is blue.", ("red", "blue", "green"), None),
        ("There is no option for red, so blue.", ("red", "blue", "green"), 1),
        ("Answer: blue\n\nThe red car is behind it.", ("red", "blue", "green"), 1),
        ("2.5", ("1", "2", "3"), None),
        ("1/2", ("2", "3", "4"), None),
        ("-5 cm", ("5 cm", "15 cm"), None),
        ("1000", ("1,000", "5"), 0),
        ("two", ("1", "2"), 1),
        ("red", ("red", "red", "blue"), None),
        ("solution", ("a solution", "a mixture"), 0),
        ("The table.", ("The chair", "The table"), 1),
        ("The answer is b only.", ("both a and b", "a only", "b only"), 2),
        ("There are two chairs.", ("1", "2", "3"), 1),
        ("There is only one chair.", ("1", "2", "3"), 0),
        ("one or two", ("0", "1", "2"), None),
        ("The one on the left is a two-seater", ("1", "2", "3"), None),
        ("30 degrees", ("20\u00b0", "30\u00b0"), 1),
        ("6 dollars", ("$6", "$7"), 0),
        ("It is 25 percent.", ("20%", "25%"), 1),
        ("The exit is 25.", ("Exit 5", "Exit 15", "Exit 25"), 2),
        ("10", ("5 km", "10 km"), 1),
        ("10 miles", ("5 km", "10 km"), None),
        ("5 and 10", ("5 km", "10 km"), None),
        ("-10", ("5 km", "10 km"), None),
        ("10", ("5 km", "10 m"), None),
        ("\\pm 2", ("-2", "2"), None),
    ],
)
def test_options_are_known_by_their_words(reply, options, number):
    assert choices.chosen(reply, options) == number


def test_the_answer_of_a_reply_is_in_its_last_block_or_outside_its_thoughts():
    assert replies.answer_of("<answer>A</answer><answer>B") == "A"
    assert replies.answer_of("<think>A</think>B") == "B"
    assert replies.answer_of("A</think> B") == "B"
    assert replies.answer_of("thinks <answer> cut o") == "cut o"


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=5))
def test_any_reply_to_any_options_is_read_without_an_error(reply, options):
    number = choices.chosen(reply, options)
    assert number is None or 0 <= number < len(options)
    for benchmark in ("MathVision", "MMK12", "MMMU", "TextVQA", "DocVQA", "VSR"):
        assert 0 <= evaluate.score(benchmark, reply, {"answer": "yes", "answers": None}) <= 1
