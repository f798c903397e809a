"""From a config file to a run: names are checked, the workdir keeps what was said, runs go on."""

import dataclasses
import json

import ml_collections
import pytest

from launch import train as program
from r3jax.buckets import Buckets, ImageBucket
from r3jax.model.config import LoraConfig
from r3jax.run import experiment, sft, train
from r3jax.update.state import OptimizerConfig

BUCKETS = Buckets((48,), (80,), 48, (ImageBucket(6, 1, 64),), (ImageBucket(6, 1, 36),))
CONFIG = {
    "kind": "sft",
    "model": "base",
    "data": "world/sft.json",
    "steps": 2,
    "batch_size": 2,
    "optimizer": {"learning_rate": 1e-3, "frozen": ()},
    "buckets": dataclasses.asdict(BUCKETS),
}
EXPECTED = sft.SftConfig("base", "world/sft.json", BUCKETS, OptimizerConfig(1e-3, frozen=()), 2, 2)


@pytest.fixture
def runs(monkeypatch):
    """Instead of training: what would have been trained, and a checkpoint left behind."""
    seen = []

    def run(config, workdir):
        seen.append(config)
        (workdir / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
        return workdir / "export"

    monkeypatch.setattr(train, "KINDS", {**train.KINDS, "sft": (sft.SftConfig, run)})
    return seen


@pytest.fixture
def launch(tmp_path, capsys, runs):
    """Calls the program on the config above; returns exit code and what it printed to stderr."""
    file = tmp_path / "config.py"
    file.write_text(
        f"import ml_collections\ndef get_config():\n  return ml_collections.ConfigDict({CONFIG})"
    )

    def call(*flags, config=file):
        code = program.main([f"--config={config}", f"--workdir={tmp_path / 'run'}", *flags])
        return code, capsys.readouterr().err

    return call


def test_a_config_becomes_the_record_of_its_kind():
    for config in (CONFIG, ml_collections.ConfigDict(CONFIG)):
        assert train.read(config) == ("sft", EXPECTED)


def test_the_command_line_overrides_fields_the_file_names_or_leaves_at_their_defaults(launch, runs):
    flags = ("optimizer.b1=0.8", "checkpoint.every=7", "valid_data=a/v.json", "seed=3")
    assert launch(*(f"--config.{flag}" for flag in flags)) == (0, "")
    (found,) = runs
    assert (found.optimizer.b1, found.checkpoint.every, found.checkpoint.keep) == (0.8, 7, 2)
    assert (found.valid_data, found.seed, found.optimizer.learning_rate) == ("a/v.json", 3, 1e-3)
    assert experiment.override({}, ["--config.a=true", "--config.b=(1,)", "--config.c='7'"]) == {
        "a": True,
        "b": (1,),
        "c": "7",
    }


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.stepz=3", "config: unknown field 'stepz'; the nearest known one is 'steps'"),
        ("--config.optimizer.learn_rate=3", "the nearest known one is 'learning_rate'"),
        ("--config.steps=many", "config.steps: expected int, found 'many'"),
        ("--config.steps.x=1", "config.steps has no fields, found 2: override it as a whole"),
        ("--config.kind=sfd", "found 'sfd'; the nearest is 'sft'"),
        ("--workdri=x", "unexpected argument --workdri=x: write --config.name=value"),
        ("--config.seed", "unexpected argument --config.seed: write --config.name=value"),
    ],
)
def test_a_wrong_flag_is_one_line(launch, runs, flag, message):
    code, err = launch(flag)
    assert (code, err.count("\n"), runs) == (1, 1, [])
    assert err.startswith("train: ") and message in err


def test_a_file_without_config_is_an_error(launch, tmp_path):
    assert "is no experiment file" in launch(config=tmp_path / "none.py")[1]
    (tmp_path / "empty.py").write_text("")
    assert "has no get_config()" in launch(config=tmp_path / "empty.py")[1]
    (tmp_path / "dict.py").write_text("def get_config():\n  return 3")
    assert "must return a ConfigDict, found 3" in launch(config=tmp_path / "dict.py")[1]


def test_the_workdir_keeps_the_whole_config(launch, tmp_path):
    launch()
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept.pop("kind") == "sft"
    assert kept == json.loads(json.dumps(dataclasses.asdict(EXPECTED)))


def test_options_reach_the_loop_and_what_it_leaves_comes_back(monkeypatch, tmp_path):
    def run(config, workdir, extra_terms):
        return workdir / extra_terms[0]

    monkeypatch.setattr(train, "KINDS", {"sft": (sft.SftConfig, run)})
    assert train.train(CONFIG, tmp_path, extra_terms=["export"]) == tmp_path / "export"


def test_a_profile_is_of_three_steps_or_of_as_many_as_asked_for(launch, monkeypatch):
    asked = []

    def run(config, workdir, profile=None):
        asked.append(profile)

    monkeypatch.setattr(train, "KINDS", {"sft": (sft.SftConfig, run)})
    for flags in ((), ("--profile",), ("--profile=5", "--config.seed=1"), ("--profile", "7")):
        assert launch(*flags) == (0, "")
    assert asked == [None, 3, 5, 7]
    code, err = launch("--profile=0")
    assert (code, len(asked)) == (1, 4) and "profile: expected at least 1 step, found 0" in err
    with pytest.raises(SystemExit):
        launch("--profile=many")


def test_fields_that_a_kept_config_does_not_have_yet_have_their_defaults(tmp_path):
    """The workdir of a run that began before somebody added them."""
    record = dataclasses.replace(EXPECTED, optimizer=OptimizerConfig())
    train.keep_config("sft", record, tmp_path)
    path = tmp_path / train.FILE_NAME
    kept = json.loads(path.read_text())
    for name in ("lora", "adapters"):
        del kept[name]
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    path.write_text(json.dumps(kept))
    train.keep_config("sft", record, tmp_path)
    path.write_text(json.dumps(kept))
    other = dataclasses.replace(record, adapters="runs/sft", lora=LoraConfig())
    with pytest.raises(ValueError, match=r"adapters was '', is 'runs/sft'; config.lora was None"):
        train.keep_config("sft", other, tmp_path)


def test_a_run_goes_on_with_the_same_config_or_more_steps(launch, runs, tmp_path):
    for flags in ((), ("--config.steps=5",), ("--config.steps=5", "--config.checkpoint.keep=9")):
        assert launch(*flags) == (0, "")
    assert [config.steps for config in runs] == [2, 5, 5]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 5


def test_a_run_goes_on_with_what_an_error_advises_to_change(launch, runs):
    launch()
    flags = ("buckets.suffix_tokens=(80,160)", "logit_chunk=64", "remat='full'")
    rate = "optimizer.learning_rate=1e-4"
    assert launch(*(f"--config.{flag}" for flag in (*flags, rate))) == (0, "")
    last = runs[-1]
    assert (last.buckets.suffix_tokens, last.logit_chunk, last.remat) == ((80, 160), 64, "full")
    assert last.optimizer.learning_rate == 1e-4
    code, err = launch("--config.batch_size=4", *(f"--config.{flag}" for flag in flags))
    assert code == 1 and "config.batch_size was 2, is 4. Name a new workdir" in err
    assert "steps may grow; buckets, mesh, micro_batch, logit_chunk, remat, rollout.tensor," in err


@pytest.mark.parametrize("name", ["buckets", "eval_buckets", "scene_buckets", "print_buckets"])
def test_every_kind_of_buckets_may_change(name, tmp_path):
    before, now = ({name: {"crops": [{"rows": rows}]}, "seed": 0} for rows in (1, 2))
    train._check_same(before, now, tmp_path)
    with pytest.raises(ValueError, match=r"config\.seed was 0, is 1"):
        train._check_same(before, now | {"seed": 1}, tmp_path)


RGRPO = {
    **{name: CONFIG[name] for name in ("model", "data", "steps", "optimizer", "buckets")},
    "kind": "rgrpo",
    "rollout": {},
}
IMAGES = {"rows": 6, "windows": 1, "slots": 64}


@pytest.mark.parametrize(
    "config, change, message",
    [
        (CONFIG, {"steps": 0}, "config: steps must be at least 1, found 0"),
        (CONFIG, {"batch_size": 0}, "config: batch_size must be at least 1, found 0"),
        (CONFIG, {"valid_every": 0}, "config: valid_every must be at least 1, found 0"),
        (CONFIG, {"valid_rows": -1}, "config: valid_rows must be at least 1, found -1"),
        (CONFIG, {"logit_chunk": 0}, "config: logit_chunk must be at least 1, found 0"),
        (CONFIG, {"remat": "ful"}, "remat: expected 'none' or 'dots' or 'full', found 'ful'"),
        (RGRPO, {"remat": ""}, "config.remat: expected 'none' or 'dots' or 'full', found ''"),
        (RGRPO, {"steps": 0}, "config: steps must be at least 1, found 0"),
        (RGRPO, {"updates": 0}, "config: updates must be at least 1, found 0"),
        (RGRPO, {"refill": -1}, "config: refill must be at least 0, found -1"),
        (RGRPO, {"logit_chunk": 0}, "config: logit_chunk must be at least 1, found 0"),
        (CONFIG, {"micro_batch": 3}, r"micro_batch must be 0 or divide batch_size \(2\), found 3"),
        (RGRPO, {"micro_batch": -1}, r"0 or divide rollout.questions \(16\), found -1"),
        (CONFIG, {"originals": (0, 9)}, r"buckets.originals are a height .* found \(0, 9\)"),
        (RGRPO, {"rollout": {"questions": 0}}, "rollout: questions must be at least 1, found 0"),
        (RGRPO, {"rollout": {"episodes": 0}}, "rollout: episodes must be at least 1, found 0"),
        (CONFIG, {"prompt_tokens": (64, 0)}, r"buckets.prompt_tokens must .* found \(64, 0\)"),
        (CONFIG, {"suffix_tokens": (-1,)}, r"buckets.suffix_tokens must .* found \(-1,\)"),
        (CONFIG, {"look_tokens": 0}, "buckets.look_tokens must be at least 1, found 0"),
        (CONFIG, {"images": {"rows": 0}}, r"images\[0\]: rows must be at least 1, found 0"),
        (CONFIG, {"images": {"windows": 0}}, r"images\[0\]: windows must be at least 1, found 0"),
        (CONFIG, {"images": {"slots": 6}}, r"images\[0\]: slots must be a positive .* found 6"),
        (CONFIG, {"images": {"slots": 0}}, r"images\[0\]: slots must be a positive .* found 0"),
    ],
)
def test_a_number_that_cannot_work_is_named_when_the_config_is_read(config, change, message):
    (name, value), buckets = *change.items(), dict(CONFIG["buckets"])
    if name == "images":
        change = {"buckets": buckets | {"images": ({**IMAGES, **value},)}}
    elif name in buckets:
        change = {"buckets": buckets | change}
    train.read(config)
    with pytest.raises(ValueError, match=message):
        train.read(config | change)


def test_another_config_in_the_same_workdir_is_refused_by_field(launch, runs, tmp_path):
    launch()
    code, err = launch("--config.optimizer.b1=0.5", "--config.steps=1")
    assert code == 1 and len(runs) == 1
    assert "config.optimizer.b1 was 0.9, is 0.5; config.steps was 2, is 1" in err
    code, err = launch("--config.steps=5", "--config.seed=1")
    assert code == 1 and "config.seed was 0, is 1" in err and "config.steps" not in err
    (tmp_path / "run" / "config.json").write_text("{")
    assert "config.json is not JSON" in launch()[1]


def test_another_config_is_refused_where_a_stage_of_the_run_has_saved_something(launch, tmp_path):
    launch()
    checkpoints = tmp_path / "run" / "checkpoints"
    (tmp_path / "run" / "rgrpo").mkdir()
    checkpoints.rename(tmp_path / "run" / "rgrpo" / "checkpoints")
    assert "config.seed was 0, is 1" in launch("--config.seed=1")[1]
    assert launch("--config.tensorboard=true", "--config.checkpoint.every=9") == (0, "")


def test_a_workdir_where_nothing_was_saved_yet_takes_another_config(launch, tmp_path, runs):
    launch()
    (tmp_path / "run" / "checkpoints" / "1").rmdir()
    assert launch("--config.seed=9") == (0, "")
    assert runs[-1].seed == 9
