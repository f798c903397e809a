"""Readers: official columns become questions whose right answer scores 1, in whatever order their
options stand."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax import evaluate
from r3jax.data import images
from r3jax.data.tables import TableError
from r3jax.evaluate import benchmarks, items, prompts, readers, results
from r3jax.evaluate.items import Asked
from r3jax.evaluate.prompts import Order
from tests.evaluate import published


def read(name, form, folder):
    return readers.read(name, published.SNAPSHOTS[name, form](folder))


def test_every_benchmark_that_is_scored_can_be_read_and_the_other_way():
    scored = {one.name for one in benchmarks.TABLE.values()}
    assert scored == set(readers.READERS) == {name for name, _ in published.SNAPSHOTS}


@pytest.mark.parametrize("name, form", published.SNAPSHOTS)
def test_the_right_answer_scores_one_another_one_nothing_and_both_can_be_reported(
    name, form, tmp_path
):
    found = read(name, form, tmp_path)
    asked = prompts.askings(found, Order.GIVEN)
    lines = []
    for asking in asked:
        right = asking.sample.get("answer", asking.sample.get("answers", [""])[0])
        if asking.item.asked is Asked.YES_NO:
            right = {"1": "yes", "0": "no"}.get(right, right)
        if asking.item.asked is Asked.OPTION:
            right = items.LETTERS[right]
        assert evaluate.score(name, str(right), asking.sample) == 1, asking
        assert evaluate.score(name, "I cannot tell what it is", asking.sample) == 0
        for picture in asking.item.images:
            assert images.open_image(picture).shape == (36, 48, 3)
        lines.append({"score": 1.0, "judged": False, "answer": "x", "looks": [], "stop": ""})
    summary = results.summarise(name, asked, 1, lines)
    assert summary["mean"] == 100 and summary["count"] == len(found)
    assert all(value in (0, 100) for value in summary["scores"].values()), summary
    assert 100 in summary["scores"].values()


def asking(name, form, folder, number=0):
    return prompts.askings(read(name, form, folder), Order.GIVEN)[number]


@pytest.mark.parametrize("form", ["hf", "tsv"])
def test_options_are_listed_with_their_letters_and_stems_are_left_alone(form, tmp_path):
    listed = "(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather"
    sentence = "Answer with the letter of the right option."
    stem = {"hf": "What is the material of the glove?", "tsv": "What is it made of?"}[form]
    one = asking("V*", form, tmp_path)
    assert one.text == f"{stem}\n{listed}\n{sentence}" and one.parts == (0, one.text)
    (folder := tmp_path / "mmstar").mkdir()
    assert asking("MMStar", form, folder).text == f"Which is it?\n{listed}\n{sentence}"


def test_images_stand_where_a_question_names_them_once_each(tmp_path):
    one = asking("MMMU", "hf", tmp_path)
    sentence = "Answer with the letter of the right option."
    wanted = (1, " or ", 0, "?\n(A) red ", "(image 1)", f"\n(B) it's blue\n{sentence}")
    assert one.parts == wanted
    turn, order = prompts.turn_of(one.parts, "Be brief.")
    assert order == (1, 0)
    assert turn.parts == (0, " or ", 1, *wanted[3:], "\nBe brief.")


def test_questions_say_what_kind_of_answer_they_want(tmp_path):
    texts = [
        one.text.splitlines()[-1]
        for one in prompts.askings(read("MathVista", "hf", tmp_path), Order.GIVEN)
    ]
    assert texts == [
        "Answer with the letter of the right option.",
        "Answer with a number, digits after its point: 1.",
        "Answer with a whole number.",
    ]
    assert asking("MathVista", "hf", tmp_path, 1).text.startswith("How long? (Unit: m)\n")
    (folder := tmp_path / "tsv").mkdir()
    of_table = asking("MathVista", "tsv", folder, 1)
    assert of_table.text.startswith("How long?\nAnswer with a number, digits after its point: 1")
    (folder := tmp_path / "letters").mkdir()
    assert asking("MathVision", "hf", folder).parts[:2] == ("What is ", 0)
    assert "(A)" not in asking("MathVision", "hf", folder).text, "options stand in the image"


def test_a_question_of_another_rows_image_shows_it(tmp_path):
    first, second = read("GQA", "tsv", tmp_path)
    assert first.images == second.images
    (folder := tmp_path / "hf").mkdir()
    found = read("GQA", "hf", folder)
    assert [one.images[0].where[-5:] for one in found] == ["row 1", "row 0", "row 1"]


@pytest.mark.parametrize(
    "question, stem, options",
    [
        (
            "Is (A) or (B) larger?\nOptions: A: first, B: second",
            "Is (A) or (B) larger?",
            "first|second",
        ),
        ("What are A. and B.?\n(A) liver\n(B) lung", "What are A. and B.?", "liver|lung"),
        (
            "Who?\nOptions: A: Mr. A. B. Smith, B: Mrs. C. Doe",
            "Who?",
            "Mr. A. B. Smith|Mrs. C. Doe",
        ),
        ("Which?\nA. one\nB. two\nC. three", "Which?", "one|two|three"),
    ],
)
def test_options_are_told_from_letters_that_a_question_names(question, stem, options, tmp_path):
    row = {"index": 1, "question": question, "answer": "A", "category": "x"}
    (one,) = readers.read("MMStar", published.jsonl(tmp_path / "rows.jsonl", [row]))
    assert (one.text, "|".join(one.choices)) == (stem, options)


@pytest.mark.parametrize("options", ["CABD", "DCBA"])
def test_options_that_are_letters_have_one_right_one(options, tmp_path):
    row = {"pid": "1", "question": "Which?", "choices": list(options), "answer": "A",
           "question_type": "multi_choice", "answer_type": "text"}  # fmt: skip
    (item,) = readers.read("MathVista", published.jsonl(tmp_path / "vista.jsonl", [row]))
    right = items.LETTERS[options.index("A")]
    for order in Order:
        for one in prompts.askings([item], order):
            scores = {letter: evaluate.score("MathVista", letter, one.sample) for letter in "ABCD"}
            shown = items.LETTERS[one.sample["answer"]]
            assert scores == {letter: float(letter == shown) for letter in "ABCD"}
            assert order is not Order.GIVEN or shown == right
    row = {"id": "1", "question": "Which?", "options": list(options), "answer": "A"}
    (item,) = readers.read("MathVision", published.jsonl(tmp_path / "vision.jsonl", [row]))
    (one,) = prompts.askings([item], Order.GIVEN)
    assert [evaluate.score("MathVision", letter, one.sample) for letter in "ABCD"] == [1, 0, 0, 0]


def test_an_option_may_be_none_and_one_that_means_others_stays_where_it_is(tmp_path):
    row = {"index": 1, "question": "Which?", "A": "Red", "B": "None", "C": "All of the above",
           "answer": "C", "category": "x"}  # fmt: skip
    (item,) = readers.read("V*", published.tsv(tmp_path / "rows.tsv", [row]))
    assert list(item.choices) == ["Red", "None", "All of the above"]
    assert [one.options for one in prompts.askings([item], Order.CIRCULAR)] == [()]


def test_a_number_may_have_the_unit_that_its_question_names(tmp_path):
    found = read("MathVista", "hf", tmp_path)[1]
    for said, score in (("1.2 m", 1), ("1.2m.", 1), ("1.2", 1), ("1.3 m", 0), ("1.2 cm", 0)):
        assert evaluate.score("MathVista", said, found.sample) == score, said


def test_images_keep_the_numbers_that_a_row_gives_them(tmp_path):
    row = {"id": "validation_Art_1", "question": "<image 2> or <image 3>?", "answer": "B",
           "options": "['<image 3> x', '<image 1> y']",
           "image_2": published.stored(2), "image_3": published.stored(3)}  # fmt: skip
    (item,) = readers.read("MMMU", published.parquet(tmp_path / "rows.parquet", [row]))
    assert item.text == "<image 1> or <image 2>?" and list(item.choices) == ["<image 2> x", " y"]
    (one,) = prompts.askings([item], Order.GIVEN)
    assert one.parts[:4] == (0, " or ", 1, "?\n(A) ")


def test_a_table_of_several_splits_and_a_folder_a_subject_are_read_as_papers_do(tmp_path):
    row = {"question": "Which?", "A": "x", "B": "y", "answer": "A", "category": "Art"}
    rows = [{**row, "index": n, "split": split} for n, split in enumerate(["dev", "validation"])]
    (item,) = readers.read("MMMU", published.tsv(tmp_path / "rows.tsv", rows))
    assert item.id == "1"
    for subject in ("Art", "Physics"):
        held = {
            "id": f"validation_{subject}_1",
            "question": "Q",
            "options": "['x', 'y']",
            "answer": "A",
        }
        for split in ("dev", "validation"):
            path = tmp_path / "mmmu" / subject / f"{split}-00000-of-00001.parquet"
            published.parquet(path, [held])
    assert [one.id for one in readers.read("MMMU", tmp_path / "mmmu")] == [
        "validation_Art_1", "validation_Physics_1"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="name it HR-Bench, and the file that you mean"):
        readers.read("HR-Bench 8K", tmp_path)


option_items = st.builds(
    lambda count, right, id: items.Item(
        "row 1", str(id), "Which?", (), Asked.OPTION,
        {"choices": [f"thing {n}" for n in range(count)], "answer": right % count},
    ),
    st.integers(2, 10), st.integers(0, 9), st.integers(),
)  # fmt: skip


@given(option_items, st.sampled_from(Order), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_in_any_order_the_letter_of_the_right_option_scores_and_no_other(item, order, seed):
    right = item.choices[item.sample["answer"]]
    asked = prompts.askings([item], order, seed)
    assert asked == prompts.askings([item], order, seed)
    assert len(asked) == (len(item.choices) if order is Order.CIRCULAR else 1)
    for one in asked:
        shown = dict(line[1:].split(") ") for line in one.text.splitlines()[1:-1])
        assert sorted(shown.values()) == sorted(item.choices)
        scored = {letter: evaluate.score("V*", letter, one.sample) for letter in shown}
        assert scored == {letter: float(text == right) for letter, text in shown.items()}
        assert evaluate.score("V*", right, one.sample) == 1
    if order is Order.CIRCULAR:
        places = collections.Counter(one.sample["answer"] for one in asked)
        assert set(places.values()) == {1}, "the right option stands once at each place"


def test_a_question_in_every_rotation_is_right_if_it_always_was(tmp_path):
    asked = prompts.askings(read("V*", "hf", tmp_path), Order.CIRCULAR)
    line = {"judged": False, "answer": "x", "looks": [], "stop": ""}
    lines = [{**line, "score": float(number != 5)} for number in range(8)]
    found = results.summarise("V*", asked, 1, lines)
    assert (found["scores"]["overall"], found["count"], found["asked"]) == (50, 2, 8)


def test_the_mean_of_several_times_has_an_interval_over_questions(tmp_path):
    asked = prompts.askings(read("V*", "hf", tmp_path), Order.GIVEN, repeats=4)
    assert len({one.id for one in asked}) == 8
    line = {"judged": False, "answer": "x", "looks": [], "stop": ""}
    lines = [{**line, "score": score} for score in (1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)]
    found = results.summarise("V*", asked, 4, lines)
    assert found["mean"] == found["scores"]["overall"] == 62.5 and found["count"] == 2
    low, high = found["interval"]  # 0.75 and 0.5: a standard error of 12.5
    assert (low, high) == pytest.approx((62.5 - 1.96 * 12.5, 62.5 + 1.96 * 12.5), abs=0.01)


@pytest.mark.parametrize(
    "name, row, message",
    [
        ("MMStar", {"index": 1, "question": "Which?", "answer": "A"}, "expected options within"),
        ("V*", {"question": "Q", "A": "x", "C": "y", "answer": "A"}, "option B is empty"),
        ("V*", {"question": "Q", "A": "x", "B": "y", "answer": "D"}, "answer 'D' is none of"),
        ("DocVQA", {"questionId": "1", "question": "Q", "answers": None}, "hidden"),
        ("MMVP", {"index": 1, "question": "Q"}, "expected 'Options' or 'options' to have a value"),
        ("HallusionBench", {"index": "1_2", "question": "Q", "answer": "Yes"}, "n_category"),
        ("TextVQA", {"question_id": 1, "answers": ["x"], "image": "../y.png"}, "outside"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named(name, row, message, tmp_path):
    path = published.jsonl(tmp_path / "rows.jsonl", [row])
    with pytest.raises(ValueError, match=message) as told:
        readers.read(name, path)
    if message != "outside":
        assert f"{path}, line 1" in str(told.value)


def test_two_questions_of_one_id_are_refused(tmp_path):
    row = {"index": 3, "question": "Q", "A": "x", "B": "y", "answer": "A", "category": "z"}
    path = published.jsonl(tmp_path / "rows.jsonl", [row, row])
    with pytest.raises(TableError, match=r"line 2: has the id 3, as .*line 1 has"):
        readers.read("V*", path)
