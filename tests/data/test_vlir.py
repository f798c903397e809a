"""The published JSON formats: good rows read, bad rows named by file and number."""

import json

import pytest

from r3jax.data import frames, vlir
from r3jax.data.vlir import RowError

SFT = {
    "image_path": "a.png",
    "question": "What?",
    "response_list": ['look {"bbox_2d": [1, 2, 30, 40]}', "<answer>7</answer>"],
    "img_crop_list": ["crops/a_0.png"],
}
RL = {"image_path": "b/c.png", "question": "Why?", "answer": "B", "source": "docvqa"}


def write(folder, rows, name="data.json"):
    (folder / name).write_text(json.dumps(rows), "utf-8")
    return folder / name


def test_sft_rows_are_read_without_opening_an_image(tmp_path):
    more = SFT | {"train_list": [False, True], "tags": {"looks": "one"}, "id": "x7"}
    path = write(tmp_path, [SFT, more])
    (first, second), problems = vlir.read_sft(path, tmp_path)
    assert problems == []
    assert first == vlir.SftRow(
        where=f"{path}, row 0",
        id="data-0",
        image=(tmp_path / "a.png").resolve(),
        question="What?",
        tags={},
        boxes_in=frames.PixelBounds.of_tokens(4, 2048),
        segments=tuple(SFT["response_list"]),
        trained=(True, True),
        num_crops=1,
    )
    assert (second.id, second.trained, second.tags) == ("x7", (False, True), {"looks": "one"})


def test_rl_rows_are_read_from_lists_and_from_lines(tmp_path):
    (row,), _ = vlir.read_rl(write(tmp_path, [RL]), tmp_path)
    assert (row.answer, row.source, row.id) == ("B", "docvqa", "data-0")
    lines = tmp_path / "data.jsonl"
    lines.write_text(f"{json.dumps(RL)}\n\n[1]\n{{\n{json.dumps(RL)}\n", "utf-8")
    rows, problems = vlir.read_rl(lines, tmp_path, strict=False)
    assert [row.id for row in rows] == ["data-1", "data-5"]
    assert problems[0] == f"{lines}, line 3: expected a JSON object, found a list"
    assert problems[1].startswith(f"{lines}, line 4: not JSON (")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": 7}, "expected text as 'question', found 7"),
        ({"response_list": "one"}, "expected a list as 'response_list', found text"),
        ({"response_list": ["a", 3]}, r"expected text as 'response_list'\[1\], found 3"),
        ({"response_list": [], "img_crop_list": []}, "at least one text, found none"),
        ({"img_crop_list": None}, "expected a list as 'img_crop_list', found null"),
        ({"img_crop_list": ["a", "b", "c"]}, "expected at most 2 crops.*, found 3"),
        ({"train_list": [True]}, "expected 2 values in 'train_list'.*, found 1"),
        ({"train_list": [1, 0]}, r"expected true or false as 'train_list'\[0\], found 1"),
        ({"tags": {"a": 1}}, "expected text as tag 'a', found 1"),
        ({"image_path": "../a.png"}, "expected a file inside .*, which lies outside"),
        ({"image_path": "/etc/passwd"}, "expected a file inside .*, which lies outside"),
        ({"image_path": None}, "expected text as 'image_path', found null"),
    ],
)
def test_a_bad_row_is_named_and_skipped_or_raised(change, message, tmp_path):
    path = write(tmp_path, [SFT, SFT | change, SFT])
    with pytest.raises(RowError, match=rf"data\.json, row 1: .*{message}"):
        vlir.read_sft(path, tmp_path)
    rows, problems = vlir.read_sft(path, tmp_path, strict=False)
    assert [row.id for row in rows] == ["data-0", "data-2"]
    assert len(problems) == 1 and "row 1" in problems[0]


def test_a_missing_key_is_named_with_those_that_are_there(tmp_path):
    path = write(tmp_path, [{"question": "Why?", "image_path": "a.png"}])
    with pytest.raises(RowError, match="'answer' is missing; the row has question, image_path"):
        vlir.read_rl(path, tmp_path)


def test_a_file_that_is_no_list_is_refused_even_if_bad_rows_are_not(tmp_path):
    with pytest.raises(RowError, match="expected a JSON list of rows, found an object"):
        vlir.read_sft(write(tmp_path, {"rows": []}), tmp_path, strict=False)
    (tmp_path / "cut.json").write_text('[{"image_path": ')
    with pytest.raises(RowError, match=r"cut\.json: not JSON"):
        vlir.read_sft(tmp_path / "cut.json", tmp_path, strict=False)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RowError, match=r"bytes\.json: not UTF-8"):
        vlir.read_sft(tmp_path / "bytes.json", tmp_path, strict=False)


@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_is_named_before_a_reward_meets_it(answer, tmp_path):
    path = write(tmp_path, [RL, RL | {"answer": answer}])
    with pytest.raises(RowError, match=r"data\.json, row 1: expected the right answer as 'answer'"):
        vlir.read_rl(path, tmp_path)
    rows, problems = vlir.read_rl(path, tmp_path, strict=False)
    assert len(rows) == len(problems) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_ends_at_a_newline_and_nowhere_else(end, tmp_path):
    question = "one\u2028two\u2029three\u0085four"
    line = json.dumps(RL | {"question": question}, ensure_ascii=False)
    path = tmp_path / "data.jsonl"
    path.write_bytes(f"{line}{end}{end}{line}{end}".encode())
    rows, problems = vlir.read_rl(path, tmp_path)
    assert [row.question for row in rows] == [question] * 2 and problems == []
    assert [row.where for row in rows] == [f"{path}, line 1", f"{path}, line 3"]
