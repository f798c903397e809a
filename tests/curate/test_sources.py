"""Every source is read by the columns of its published files; hints are boxes of the original."""

import io
import json
import pathlib

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from r3jax.curate import collecting, hints, sources
from r3jax.curate.samples import Hint, Verdict
from r3jax.data import images, tables

HEIGHT, WIDTH = 100, 200


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def parquet(folder, rows) -> pathlib.Path:
    path = folder / "train-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def collect(path, source, folder, images_in=None, boxes=None) -> list:
    rows = tables.read(path)
    return list(collecting.collect(rows, source, images_in or path.parent, boxes or {}, folder))


ROWS = {
    "textvqa": (
        {"question_id": 7, "image_id": "a", "question": "what is it?",
         "answers": ["stop"] * 5 + ["stop sign"] * 3 + ["red"] * 2},
        ("textvqa-7", "what is it?", ("stop", "stop sign")),
    ),
    "docvqa": (
        {"questionId": "12", "question": "Who signs?", "answers": ["J. Doe", "Doe"], "docId": 4},
        ("docvqa-12", "Who signs?", ("J. Doe", "Doe")),
    ),
    "infographicsvqa": (
        {"questionId": "12", "question": "How many?", "answers": ["12%"]},
        ("infographicsvqa-12", "How many?", ("12%",)),
    ),
    "gqa": (
        {"id": "0293", "imageId": "n1", "question": "Is it red?", "answer": "yes",
         "fullAnswer": "Yes, it is."},
        ("gqa-0293", "Is it red?", ("yes",)),
    ),
    "vsr": (
        {"caption": "The cat is under the bed.", "label": 0, "relation": "under"},
        ("vsr-train-00000-of-00001.parquet-row-0",
         'Is this true of the image: "The cat is under the bed." Answer yes or no.', ("no",)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", ROWS)
def test_a_source_is_read_from_parquet_with_the_image_in_it(tmp_path, source):
    row, (name, question, answers) = ROWS[source]
    path = parquet(tmp_path, [row | {"image": {"bytes": png(1), "path": None}}])
    (decision,) = collect(path, source, tmp_path / "images")
    sample = decision.sample
    assert decision.verdict is Verdict.KEPT, decision.told
    assert (sample.id, sample.question, sample.answers) == (name, question, answers)
    assert (tmp_path / "images" / sample.image).read_bytes() == png(1)


def test_images_may_lie_in_a_folder_and_nowhere_else(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/n1.jpg").write_bytes(png(2))
    gqa = ROWS["gqa"][0]
    rows = [gqa, gqa | {"imageId": "../secret"}, gqa | {"imageId": "gone"}, gqa | {"answer": " "}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = collect(tmp_path / "rows.jsonl", "gqa", tmp_path / "images", tmp_path / "pictures")
    assert [one.reason for one in found] == ["", "image outside root", "image missing", "bad row"]
    assert found[0].sample.image.endswith(".png"), "named by what it is"
    assert "line 3" in found[2].sample.where


@pytest.mark.parametrize(
    ("source", "row", "answers", "reason"),
    [
        ("gqa", {"answer": 7}, ("7",), ""),
        ("gqa", {"answer": 10**400}, (str(10**400),), ""),
        ("gqa", {"answer": float("nan")}, (), "bad row"),
        ("vsr", {"label": float("inf")}, (), "bad row"),
        ("gqa", {"answer": None}, (), "bad row"),
        ("gqa", {"question": None}, (), "bad row"),
        ("gqa", {"question": {"a": 1}}, (), "bad row"),
        ("docvqa", {"answers": 7.5}, ("7.5",), ""),
        ("docvqa", {"answers": [True]}, (), "bad row"),
        ("docvqa", {"answers": ["Sales/Marketing"]}, ("Sales/Marketing",), ""),
        ("vsr", {"caption": None}, (), "bad row"),
        ("textvqa", {"answers": ["a"] * 2 + list("bcdefghi")}, (), "no right answer"),
        ("textvqa", {"answers": ["unanswerable"] * 6 + ["a"] * 3}, ("a",), ""),
        ("textvqa", {"answers": ["Unanswerable"] * 7 + ["a"] * 2}, (), "no right answer"),
    ],
)
def test_numbers_are_text_and_anything_else_is_a_bad_row(tmp_path, source, row, answers, reason):
    (tmp_path / "a.png").write_bytes(png(1))
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROWS[source][0] | {"image": "a.png"} | row]))
    (decision,) = collect(path, source, tmp_path / "images")
    assert (decision.sample.answers, decision.reason) == (answers, reason)
    assert decision.verdict is Verdict.KEPT or "row 0" in decision.told


def test_published_questions_list_alternatives(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    row = {"id": "7", "question": "Which?", "answer": "B/C", "source": "x", "image_path": "a.png"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (decision,) = collect(tmp_path / "rows.json", "vlir", tmp_path / "images")
    assert decision.sample.answers == ("B/C", "B", "C")


@pytest.mark.parametrize(
    ("source", "official", "image"),
    [
        ("textvqa", lambda row: {"data": [row]}, "a.jpg"),
        ("infographicsvqa", lambda row: {"data": [row | {"image_local_name": "i.jpg"}]}, "i.jpg"),
        ("gqa", lambda row: {row["id"]: {k: v for k, v in row.items() if k != "id"}}, "n1.jpg"),
    ],
)
def test_official_files_name_their_images(tmp_path, source, official, image):
    row, (name, _, answers) = ROWS[source]
    (tmp_path / image).write_bytes(png(1))
    (tmp_path / "train.json").write_text(json.dumps(official(row)))
    (decision,) = collect(tmp_path / "train.json", source, tmp_path / "images")
    assert (decision.sample.id, decision.sample.answers) == (name, answers), decision.told


def test_a_row_of_another_source_says_what_it_lacks(tmp_path):
    path = parquet(tmp_path, [{"caption": "a", "image": {"bytes": png(1), "path": None}}])
    (decision,) = collect(path, "docvqa", tmp_path / "images")
    assert decision.verdict is Verdict.DROPPED
    assert "no row of docvqa (KeyError: 'questionId'); it has caption, image" in decision.told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"ocr_info": [{"word": "EXIT", "bounding_box": {
                "top_left_x": 0.1, "top_left_y": 0.2, "width": 0.25, "height": 0.1}}]},
            Hint("EXIT", (20.0, 20.0, 70.0, 30.0)),
        ),
        (
            {"ocr": json.dumps({"LINE": [{"Text": "5 %", "Geometry": {"BoundingBox": {
                "Left": 0.5, "Top": 0.5, "Width": 0.1, "Height": 0.2}}}]})},
            Hint("5 %", (100.0, 50.0, 120.0, 70.0)),
        ),
        (
            {"ocr": {"recognitionResults": [{"width": 400, "height": 200, "lines": [
                {"text": "Dear Sir", "boundingBox": [20, 10, 60, 12, 60, 30, 20, 28]}]}]}},
            Hint("Dear Sir", (10.0, 5.0, 30.0, 15.0)),
        ),
        ({"objects": {"9": {"name": "cat", "x": 3, "y": 4, "w": 50, "h": 60}}},
         Hint("cat", (3.0, 4.0, 53.0, 64.0))),
    ],
)  # fmt: skip
def test_hints_are_boxes_of_the_original(values, expected):
    assert hints.find(values, HEIGHT, WIDTH) == (expected,)


def test_a_bad_hint_loses_no_other_and_a_box_a_hair_outside_is_clamped():
    def word(text, x, width=0.25):
        box = {"top_left_x": x, "top_left_y": 0.2, "width": width, "height": 0.1}
        return {"word": text, "bounding_box": box}

    words = [{"word": "no box"}, word("left", -0.005), word("huge", 10**400), word("EXIT", 0.1)]
    found = hints.find({"ocr_info": words, "objects": "[" * 10**5}, HEIGHT, WIDTH)
    assert found == (
        Hint("left", (0.0, 20.0, 49.0, 30.0)),
        Hint("EXIT", (20.0, 20.0, 70.0, 30.0)),
    )


@pytest.mark.parametrize("value", [7, "no JSON", {"x": 1}, [{"word": "a"}], None, {"LINE": [{}]}])
def test_hints_that_cannot_be_read_are_none(value):
    assert hints.find(dict.fromkeys(("ocr_info", "ocr", "objects"), value), HEIGHT, WIDTH) == ()


def test_hints_outside_the_image_are_left_out_and_a_file_beside_has_them_by_image(tmp_path):
    graph = {"n1": {"width": WIDTH, "height": HEIGHT, "objects": {
        "1": {"name": "cat", "x": 3, "y": 4, "w": 50, "h": 60},
        "2": {"name": "far", "x": 150, "y": 4, "w": 90, "h": 60},
    }}}  # fmt: skip
    (tmp_path / "graphs.json").write_text(json.dumps(graph))
    boxes = hints.read_file(tmp_path / "graphs.json")
    path = parquet(tmp_path, [ROWS["gqa"][0] | {"image": {"bytes": png(1), "path": None}}])
    (decision,) = collect(path, "gqa", tmp_path / "images", boxes=boxes)
    assert decision.sample.hints == (Hint("cat", (3.0, 4.0, 53.0, 64.0)),)
    (tmp_path / "graphs.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"graphs\.json: expected scene graphs"):
        hints.read_file(tmp_path / "graphs.json")


def test_names_of_samples_are_names_of_files():
    assert sources.sample_id("gqa", "a/../b c", "").startswith("gqa-a-..-b-c-")
    long = {sources.sample_id("gqa", "x" * 500 + end, "") for end in "ab"}
    assert {len(name) for name in long} == {100} and len(long) == 2
    assert images.locate(sources.sample_id("..", "../x", ""), "/data").parent.name == "data"
