"""Bad input through the front door: one line that says what is wrong, and nothing is lost.

Misspelt fields and workdirs of other runs: test_train.py. Inference: test_infer.py.
"""

import functools
import json
import re
import resource

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from launch import train as program
from r3jax import metrics
from r3jax.checkpoint.store import Store
from r3jax.data import pipelines
from tests.run import loops, models


@pytest.fixture
def data(tmp_path):
    return loops.write_data(tmp_path / "data", count=4)


@pytest.fixture
def launch(tmp_path, data, capsys):
    """Trains two or more steps; returns the exit code and what was printed to stderr."""

    def call(steps=2, make=loops.sft_config):
        config = make(models.untrained(), data, steps) | {"checkpoint": {"every": 2, "keep": 1}}
        path = loops.write_config(tmp_path / "config.py", config)
        code = program.main([f"--config={path}", f"--workdir={tmp_path / 'run'}"])
        return code, capsys.readouterr().err

    return call


def change_row(path, number: int, change) -> None:
    """Rewrites one row of a data file."""
    rows = json.loads(path.read_text())
    rows[number] = change(rows[number])
    path.write_text(json.dumps(rows))


def name_missing(data):
    change_row(data / "sft.json", 1, lambda row: {**row, "image_path": "gone.png"})


def cut_jpeg(data):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(data / "cut.jpg")
    (data / "cut.jpg").write_bytes((data / "cut.jpg").read_bytes()[:5000])
    change_row(data / "sft.json", 1, lambda row: {**row, "image_path": "cut.jpg"})


def lead_outside(data):
    Image.new("RGB", (90, 90)).save(data.parent / "secret.png")
    change_row(data / "sft.json", 1, lambda row: {**row, "image_path": "../secret.png"})


def put_number(data):
    change_row(data / "sft.json", 1, lambda row: 7)


def put_text(data):
    change_row(data / "sft.json", 1, lambda row: {**row, "response_list": "look there"})


BROKEN = {
    name_missing: "gone.png: expected a file, found none at",
    cut_jpeg: "cut.jpg: expected a whole image, found OSError: image file is truncated",
    lead_outside: "../secret.png: expected a file inside",
    put_number: "sft.json, row 1: expected a JSON object, found 7",
    put_text: "sft.json, row 1: expected a list as 'response_list', found text",
}


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_bad_data_is_one_line_that_names_file_and_fault(breaks, data, launch):
    breaks(data)
    code, err = launch()
    assert (code, err.count("\n")) == (1, 1), err
    assert err.startswith("train: ") and BROKEN[breaks] in err


def test_a_bad_question_stops_rgrpo_before_it_starts(data, launch):
    change_row(data / "rl.json", 2, lambda row: {**row, "answer": None})
    code, err = launch(make=loops.rgrpo_config)
    assert code == 1 and "rl.json, row 2: expected text as 'answer', found null" in err


def test_a_run_that_met_too_long_a_prompt_goes_on_with_a_larger_bucket(data, launch, tmp_path):
    def one_size(*args, prompt_tokens=48):
        config = loops.sft_config(*args) | {"valid_data": "", "batch_size": 1}
        shapes = {"prompt_tokens": (prompt_tokens,), "suffix_tokens": (128,)}
        return config | {"buckets": config["buckets"] | shapes}

    (last,) = pipelines.BatchPlan((tuple(range(4)),), batch_size=1, seed=0)[3]
    change_row(data / "sft.json", last, lambda row: {**row, "question": row["question"] * 4})
    assert launch(steps=2, make=one_size) == (0, "")
    code, err = launch(steps=4, make=one_size)
    assert code == 1 and "the largest bucket is 48 of (48,): add a larger bucket" in err

    larger = functools.partial(one_size, prompt_tokens=160)
    assert launch(steps=4, make=larger) == (0, "")
    assert loops.steps_written(tmp_path / "run") == 4


@pytest.mark.parametrize(
    "kind, rows, message",
    [
        (
            "crops",
            4,
            "buckets.crops: a batch can have 6 images, .* expected a bucket of 6 rows",
        ),
        (
            "images",
            1,
            "buckets.images: a batch can have 2 images, .* expected a bucket of 2 rows",
        ),
    ],
)
def test_rgrpo_does_not_start_with_buckets_that_a_batch_may_outgrow(launch, kind, rows, message):
    def small(*args):
        config = loops.rgrpo_config(*args)
        bucket = {**config["buckets"][kind][0], "rows": rows}
        learning = {"learning_rate": 1e-3, "frozen": ()}  # the update encodes what it shows
        buckets = config["buckets"] | {kind: (bucket,)}
        return config | {"buckets": buckets, "optimizer": learning}

    code, err = launch(make=small)
    assert (code, err.count("\n")) == (1, 1) and re.search(message, err)


def test_a_full_disk_loses_nothing(tmp_path, launch):
    """A limit on file size stands for the full disk: the system call itself fails."""
    assert launch(steps=2) == (0, "")
    before = (tmp_path / "run" / metrics.METRICS).read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code, err = launch(steps=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and "saving a checkpoint in" in err and "File too large" in err
    assert "Whole and restorable: [2]. If the disk is full, free some space" in err
    assert launch(steps=4) == (0, "")
    after = (tmp_path / "run" / metrics.METRICS).read_text()
    assert after.startswith(before) and after.count("\n") == 4


def test_a_run_does_not_go_on_with_other_data(tmp_path, data, launch):
    assert launch(steps=2) == (0, "")
    whole = (data / "sft.json").read_bytes()
    change_row(data / "sft.json", 1, lambda row: {**row, "question": "Which one?"})
    code, err = launch(steps=4)
    assert code == 1 and "run holds a run whose data had another content than now: put back" in err
    (data / "sft.json").write_bytes(whole)
    assert launch(steps=4) == (0, "")


def test_a_checkpoint_of_another_model_names_what_differs(tmp_path, launch):
    assert launch(steps=2) == (0, "")
    with Store(tmp_path / "run" / "checkpoints", keep=1) as store:
        store.save(3, {"params": {"text": jnp.zeros(3)}}, None, {"next_step": 3})
    code, err = launch(steps=4)
    assert code == 1
    assert "checkpoints is a checkpoint of another model or optimizer" in err
    assert "opt_state/" in err and ", params/text, params/text/embed/embedding, " in err
    assert "Use the config that the checkpoint was trained with, or another directory." in err
