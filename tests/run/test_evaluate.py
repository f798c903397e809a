"""Evaluation on disk: every question once, in order, whatever was interrupted, one model each."""

import json
import pathlib
import shutil

import pytest

from launch import evaluate as program
from r3jax import paths
from r3jax.data import vlir
from r3jax.data.world import files
from r3jax.records import Question
from r3jax.run import benchmark, evaluate, suites
from tests import fake_gcs, tiny
from tests.run import models

SIZE = 7  # two batches of three and one


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("world")
    files.write_world(folder, seed=1, counts={"test": SIZE})
    return folder / "test.json"


def call(output, data, *flags, model=None) -> int:
    fixed = ["--benchmark=look_again", "--batch=3", "--max_text_tokens=24", "--temperature=1"]
    model = model or models.untrained()
    return program.main(
        [f"--model={model}", f"--output={output}", f"--data={data}", *fixed, *flags]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data) -> pathlib.Path:
    """The output of an undisturbed evaluation."""
    output = tmp_path_factory.mktemp("whole")
    assert call(output, data) == 0
    return output


def lines(output: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def test_every_question_is_asked_once_in_order(whole, data):
    found, rows = lines(whole), json.loads(data.read_text())
    assert [one["id"] for one in found] == [row["id"] for row in rows]
    assert [one["gold"] for one in found] == [row["answer"] for row in rows]
    assert len({one["text"] for one in found}) == SIZE, "temperature 1: every episode is its own"
    results = json.loads((whole / "results.json").read_text())
    assert results["count"] == SIZE and results["all"] == sum(o["score"] for o in found) / SIZE
    assert set(results["families"]) == {row["source"] for row in rows}
    assert sum(results["stops"].values()) == pytest.approx(1)


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(whole, data, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "results.json").unlink()
    kept = (whole / "predictions.jsonl").read_text()
    torn = "".join(kept.splitlines(keepends=True)[:2]) + kept.splitlines()[2][:40]
    (tmp_path / "predictions.jsonl").write_text(torn)
    assert call(tmp_path, data) == 0
    for name in ("predictions.jsonl", "results.json"):
        assert (tmp_path / name).read_text() == (whole / name).read_text()


def test_an_evaluation_in_a_bucket_goes_on_and_ends_as_on_a_disk(whole, data):
    fake_gcs.serving().objects.clear()
    bucket = paths.of("gs://bucket")
    paths.copy_tree(data.parent, bucket / "data")
    paths.copy_tree(models.untrained(), bucket / "model")
    asked = bucket / "evaluation", bucket / "data" / data.name
    for flags in (("--limit=3",), ()):
        assert call(*asked, *flags, model=bucket / "model") == 0
    assert (asked[0] / "predictions.jsonl").read_text() == (whole / "predictions.jsonl").read_text()
    there, here = (json.loads((at / "results.json").read_text()) for at in (asked[0], whole))
    assert {**there, "settings": None} == {**here, "settings": None}


def test_what_is_answered_is_not_asked_again(whole, data, tmp_path, monkeypatch, capsys):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(evaluate, "make_engine", None)
    assert call(tmp_path, data) == 0
    assert f"{SIZE} questions; {tmp_path}/results.json" in capsys.readouterr().out
    assert call(tmp_path, data, "--limit=4") == 0
    assert json.loads((tmp_path / "results.json").read_text())["count"] == 4
    assert lines(tmp_path) == lines(whole)


def test_another_model_seed_or_file_is_refused(whole, data, tmp_path, capsys):
    def refused(message, *flags, file=data):
        assert call(whole, file, *flags) == 1
        err = capsys.readouterr().err
        assert err.startswith("evaluate: ") and err.count("\n") == 1 and message in err

    refused("made with other settings: seed was 0, is 5. Name a new output", "--seed=5")
    other = tmp_path / "other"
    shutil.copytree(models.untrained(), other)
    refused_by = (other / "r3jax.json").read_text().replace('"max_looks": 2', '"max_looks": 1')
    (other / "r3jax.json").write_text(refused_by)
    refused("other settings: weights was", f"--model={other}")
    refused("limit must be at least 1, found 0", "--limit=0")
    changed = data.with_name("changed.json")
    changed.write_text(data.read_text() + " ")
    refused("other settings: questions was", file=changed)


def test_predictions_of_other_questions_are_an_error(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(ValueError, match=r"line 1 is no prediction \('score'\): remove the file"):
        benchmark.read_predictions(path, ["y"])
    path.write_text('{"id": "x", "score": 1}\n')
    with pytest.raises(ValueError, match="line 1 answers x, expected y"):
        benchmark.read_predictions(path, ["y"])


def test_a_question_that_cannot_be_counted_is_named(data):
    rows = json.loads(data.read_text())
    rows[2]["tags"] = {"looks": "three"}
    data.with_name("mistagged.json").write_text(json.dumps(rows))
    with pytest.raises(vlir.RowError, match=r"row 2: expected tags.looks to be one of one, two"):
        suites.read_look_again(data.with_name("mistagged.json"))


def test_rows_of_the_published_format_are_counted_without_tags(data, tmp_path):
    rows = json.loads(data.read_text())
    for row in rows:
        del row["tags"]
    untagged = data.with_name("untagged.json")
    untagged.write_text(json.dumps(rows))
    assert call(tmp_path, untagged) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["count"] == SIZE and set(results["intervals"]) == {"all"}


def test_the_held_out_split_is_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "COUNT", 2)
    path = benchmark.draw_test_split(tmp_path)
    assert len(json.loads(path.read_text())) == 2
    before = path.stat().st_mtime_ns
    assert benchmark.draw_test_split(tmp_path).stat().st_mtime_ns == before
    monkeypatch.setattr(benchmark, "COUNT", 3)
    with pytest.raises(ValueError, match="holds another world"):
        benchmark.draw_test_split(tmp_path)


def test_one_engine_judges_several_models():
    engine = tiny.make_engine(size=2, episodes=1, temperature=0.0)
    asked = [
        Question(q.id, q.text, q.images, q.answer, q.source, {"looks": "one"})
        for q in tiny.questions(3)
    ]
    seen = []
    results = [
        evaluate.evaluate(engine, params, asked, report=lambda n, share: seen.append(n))
        for params in (tiny.params(), tiny.looking_params())
    ]
    assert seen == [1, 2, 3, 1, 2, 3]
    (_, without), (predictions, looking) = results
    assert without["looks_per_answer"] == 0 < looking["looks_per_answer"]
    assert looking["served_looks"] > 0 and looking["count"] == 3
    assert [one.right for one in predictions] == [one.answer == one.gold for one in predictions]
