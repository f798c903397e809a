"""An inspection counts what is there, names what is bad, and finds crop files that lie."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from launch import build_vlir
from r3jax.curate import rows
from r3jax.data import conversations, vlir
from r3jax.data.json_rows import RowError
from r3jax.run import inspect_rows
from tests.curate import files
from tests.view.test_pages import HOSTILE


def inspect(path, page=None, **options):
    return inspect_rows.inspect(path, inspect_rows.Options(**options), page)


def write(folder, values, name="data.json"):
    (folder / name).write_text(json.dumps(values, indent=1))
    return folder / name


def test_a_published_file_is_counted_and_its_crop_files_agree(tmp_path):
    rows = files.world(tmp_path)
    found = inspect(write(tmp_path, rows))
    looks = [len(row["img_crop_list"]) for row in rows]
    assert (found.format, found.rows, found.good, found.faults) == ("VLIR traces", 12, 12, {})
    assert found.looks == {n: looks.count(n) for n in sorted(set(looks))} and len(found.looks) == 2
    assert found.crops.counts == {"agrees": sum(looks)}
    height, width = Image.open(tmp_path / rows[0]["image_path"]).size[::-1]
    assert found.numbers["image width"].most >= width >= found.numbers["image width"].least
    # 144 tokens of a picture of 336 x 336, nine of a crop and two around each image.
    lengths = found.lengths["tokens in all"]
    assert found.lengths["reply tokens"].total + found.numbers["image tokens"].total < lengths.total
    assert found.numbers["crop tokens"].total == 9 * sum(looks) and height > 0
    questions = inspect(tmp_path / "rl.json")
    assert (questions.format, questions.good, questions.crops) == ("VLIR questions", 12, None)
    assert sum(questions.sources.values()) == 12


def test_crop_files_that_are_larger_other_or_gone_are_told_apart(tmp_path):
    rows = files.world(tmp_path)
    crop = Image.open(tmp_path / rows[0]["img_crop_list"][0])
    crop.resize((2 * crop.width, 2 * crop.height)).save(tmp_path / "large.png")
    noise = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    crop.save(tmp_path / "compressed.jpg", quality=75)
    names = ("large.png", "noise.png", "gone.png", "../outside.png", 7, "compressed.jpg")
    one = next(row for row in rows if len(row["img_crop_list"]) == 1)
    bad = [files.changed(one, img_crop_list=[name]) for name in names[:5]]
    bad.append(
        files.changed(rows[0], img_crop_list=["compressed.jpg", *rows[0]["img_crop_list"][1:]])
    )
    bad[0] = files.changed(rows[0], img_crop_list=["large.png", *rows[0]["img_crop_list"][1:]])
    found = inspect(write(tmp_path, bad))
    same = 1 + 2 * (len(rows[0]["img_crop_list"]) - 1)
    assert found.crops.counts == {
        "other size": 1, "other pixels": 1, "missing": 1, "unreadable": 2, "agrees": same,
    }  # fmt: skip
    assert any("noise.png: other pixels" in told for told in found.crops.told)


def test_bad_rows_are_named_by_file_and_line_and_counted_by_reason(tmp_path, capsys):
    row = files.world(tmp_path)[0]
    (tmp_path / "images/broken.png").write_bytes(b"nothing")
    box = '{"bbox_2d": [4000, 4000, 5000, 5000]}'
    bad = {
        "wrong type": files.changed(row, question=7),
        "missing field": {"response_list": ["a"], "img_crop_list": [], "image_path": "a"},
        "image outside root": files.changed(row, image_path="../x.png"),
        "image missing": files.changed(row, image_path="images/none.png"),
        "image not an image": files.changed(row, image_path="images/broken.png"),
        "no object": [1],
        "no known format": {"a": 1},
        "no text": files.changed(row, response_list=[]),
        "no box before a crop": files.changed(row, response_list=["a", "b"], img_crop_list=["c"]),
        "box outside": files.changed(row, response_list=[box, "b"], img_crop_list=["c"]),
        "too many crops": files.changed(row, response_list=["a"], img_crop_list=["c", "d"]),
        "another format": {"image_path": "a", "question": "b", "answer": "c", "source": "d"},
    }
    path = write(tmp_path, [row, *bad.values()])
    found = inspect(path, page := tmp_path / "page.html")
    assert found.faults == dict.fromkeys(bad, 1) and (found.rows, found.good) == (13, 1)
    begins = [
        n for n, line in enumerate(path.read_text().split("\n"), 1) if re.match(r" [{\[]", line)
    ]
    for line, fault in zip(begins[1:], bad, strict=True):
        assert found.examples[fault][0].startswith(f"{path}:{line}: "), fault
        assert f"{fault}: 1</summary>" in page.read_text()
    assert build_vlir.main(["inspect", str(path), "--strict"]) == 1
    assert "row 1: expected text as 'question', found 7" in capsys.readouterr().err


def test_what_ends_a_file_is_told_and_what_came_before_it_is_counted(tmp_path):
    path = write(tmp_path, files.world(tmp_path))
    path.write_text(path.read_text()[:-200])
    found = inspect(path)
    assert found.good == 11 and list(found.faults) == ["not JSON"]


@pytest.mark.parametrize("form", [files.as_conversation, files.as_messages])
def test_conversations_become_the_traces_that_they_were_made_of(tmp_path, form):
    traces = files.world(tmp_path)
    path = tmp_path / "conversations.jsonl"
    path.write_text("".join(json.dumps(form(row)) + "\n" for row in traces))
    found = list(rows.read(path, tmp_path, vlir.VLIR_BOUNDS))
    for one, row in zip(found, traces, strict=True):
        assert (one.format, one.row.segments) == ("conversations", tuple(row["response_list"]))
        assert (one.row.question, one.crops) == (row["question"], tuple(row["img_crop_list"]))
    assert inspect(path).crops.counts == {
        "agrees": sum(len(row["img_crop_list"]) for row in traces)
    }


@pytest.mark.parametrize(
    ("turns", "images", "fault"),
    [
        (["q", "a", "another", "b"], ["i"], "several questions"),
        (["<image><image> q", "a"], ["i", "j"], "several images"),
        (["q", "a"], ["i", "j"], "number of images"),
        (["q"], ["i"], "turns"),
        ([], ["i"], "turns"),
        (["q", 7], ["i"], "wrong type"),
        (["q", "a"], [7], "wrong type"),
    ],
)
def test_a_conversation_that_is_no_single_question_says_why(turns, images, fault):
    said = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]
    with pytest.raises(RowError, match="here") as told:
        conversations.as_trace({"image": images, "conversations": said}, "here")
    assert told.value.fault == fault


def test_a_page_shows_boxes_and_crops_of_some_rows_and_hostile_text_as_text(tmp_path):
    traces = files.world(tmp_path)
    traces[0]["question"] = HOSTILE
    bad = files.changed(traces[1], question=7, tags={HOSTILE: 1})
    page = tmp_path / "page.html"
    inspect(write(tmp_path, [*traces, bad]), page, shown=12)
    html = page.read_text()
    looks = sum(len(row["img_crop_list"]) for row in traces)
    assert html.count('class="box"') == html.count('<div class="look"') == looks
    assert html.count("<article") == 12 and "<script" not in html and HOSTILE not in html


def test_a_sample_is_drawn_by_the_seed_from_all_rows(tmp_path):
    path = write(tmp_path, files.world(tmp_path))
    shown = []
    for seed in (0, 0, 1):
        page = tmp_path / f"{len(shown)}.html"
        inspect(path, page, shown=4, seed=seed)
        shown.append(re.findall(r"train-3-\d+", page.read_text()))
    assert shown[0] == shown[1] != shown[2] and len(set(shown[0])) == 4


def test_a_line_of_the_program_prints_json_and_an_absent_file_is_named(tmp_path, capsys):
    path = write(tmp_path, files.world(tmp_path))
    assert build_vlir.main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["good"] == 12
    assert build_vlir.main(["inspect", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
