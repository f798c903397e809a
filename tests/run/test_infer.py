"""What people and programs are shown of an episode, and what of a mistake."""

import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from launch import infer as program
from r3jax.records import Episode, Look, LookOutcome, Source, Stop
from r3jax.run import entry, infer
from tests import tiny
from tests.run import models


def episode(**changes) -> Episode:
    """Two boxes, the second out of the image, and an answer."""
    cut = np.zeros((56, 84, 3), np.uint8).copy
    values = {
        "tokens": np.arange(30, dtype=np.int32),
        "source": np.ones(30, np.int8),
        "positions": np.zeros((3, 30), np.int32),
        "logp": np.zeros(30, np.float32),
        "looks": (
            Look("{}", LookOutcome.OK, (10.0, 20, 40, 41.5), (20.0, 40, 80, 83), 2.0, cut=cut),
            Look("{}", LookOutcome.OUTSIDE, (900.0, 0, 990, 9)),
        ),
        "stop": Stop.ANSWER,
        "text": '<think>a {"bbox_2d": [1]} b {"bbox_2d": [2]}</think><answer>7</answer>',
        "answer": "7",
    }
    return Episode(**values | changes)


def test_a_person_reads_each_look_where_it_was_taken():
    assert infer.describe(episode()).splitlines() == [
        '<think>a {"bbox_2d": [1]}',
        "  [look 1: box 10, 20, 40, 42, in the original 20, 40, 80, 83, zoom 2.00, "
        "seen at 84 x 56]",
        'b {"bbox_2d": [2]}',
        "  [look 2: box 900, 0, 990, 9, no view: outside]",
        "</think><answer>7</answer>",
        "",
        "answer: 7  (2 looks, 30 tokens)",
    ]
    lost = episode(stop=Stop.LENGTH, answer=None, looks=(), text="hm", tokens=np.zeros(1, int))
    assert infer.describe(lost).endswith(
        "answer: none: the episode reached its longest length  (0 looks, 1 token)"
    )


def test_a_program_reads_boxes_zoom_and_outcome():
    found = json.loads(infer.to_json(episode()))
    assert list(found) == ["answer", "text", "looks", "num_tokens"]
    assert found["looks"] == [
        {
            "box_resized": [10, 20, 40, 41.5],
            "box_original": [20, 40, 80, 83],
            "zoom": 2.0,
            "outcome": "ok",
        },
        {
            "box_resized": [900, 0, 990, 9],
            "box_original": None,
            "zoom": None,
            "outcome": "outside",
        },
    ]


def test_token_texts_join_to_the_text_and_a_split_character_stands_at_its_end():
    tokens = tiny.tk().encode("ä 世 12")
    source = np.full(len(tokens), Source.SAMPLED)
    texts = infer.token_texts(tiny.tk(), tokens, source)
    assert "".join(texts) == "ä 世 12" and len(texts) == len(tokens)
    assert infer.token_texts(tiny.tk(), tokens[:1], source[:1]) == ["\ufffd"]
    image = np.array([tiny.tk().ids.image_pad])
    assert infer.token_texts(tiny.tk(), image, np.array([Source.IMAGE])) == [""]


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("pictures") / "sample.png"
    Image.fromarray(tiny.questions(1)[0].images[0]).save(path)
    return path


def test_the_program_shows_looks_that_were_really_taken(picture, tmp_path, capsys):
    asked = tiny.questions(1)[0].text
    page = tmp_path / "trace.html"
    args = [f"--model={models.looking()}", f"--image={picture}", f"--question={asked}"]
    assert program.main([*args, f"--trace={page}", "--json", "--max_text_tokens=100"]) == 0
    told = json.loads(capsys.readouterr().out)
    served = [look for look in told["looks"] if look["outcome"] == "ok"]
    assert served, "the tiny model was trained to look on this question"
    for look in served:  # 336 pixels are shown as 112
        assert look["box_original"] == pytest.approx([3 * x for x in look["box_resized"]])
    html = page.read_text()
    assert html.count("data:image") == 1 + len(served)
    assert "112 x 112" in html


def test_mistakes_are_one_line_without_a_traceback(picture, tmp_path, capsys):
    model = models.untrained()
    (tmp_path / "cut.jpg").write_bytes(jpeg(tmp_path)[:2000])
    (tmp_path / "text.png").write_text("no image")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((model / name).read_bytes())
    expected = {
        (model, tmp_path / "none.png", "0"): r"image .*none.png: expected a file, found none at",
        (
            model,
            tmp_path / "cut.jpg",
            "0",
        ): r"image .*cut.jpg: expected a whole image, found .*trunc",
        (model, tmp_path / "text.png", "0"): r"image .*text.png: expected one of PNG, JPEG",
        (
            tmp_path / "nowhere",
            picture,
            "0",
        ): r"nowhere is missing; name a Hugging Face",
        (
            bare,
            picture,
            "0",
        ): r"bare/tokenizer.json is missing: name a Hugging Face model directory",
        (model, picture, "-1"): r"temperature must be at least 0, found -1.0",
    }
    for (directory, image, temperature), message in expected.items():
        args = [f"--model={directory}", f"--image={image}", "--question=?"]
        assert program.main([*args, f"--temperature={temperature}"]) == 1
        out = capsys.readouterr()
        assert out.out == "" and out.err.count("\n") == 1
        assert re.match(r"infer: .*" + message, out.err), out.err


def jpeg(folder: pathlib.Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    return (folder / "whole.jpg").read_bytes()


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="could not be broadcast"):
        entry.call("infer", lambda: np.zeros(2) + np.zeros(3))
    with pytest.raises(KeyError):
        entry.call("infer", lambda: {}["a"])
