"""Runs that learn adapters: what is kept, what goes on, what comes out."""

import json
import pathlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from r3jax import config as config_lib
from r3jax import metrics
from r3jax.checkpoint import hf
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.store import Store
from r3jax.model import lora
from r3jax.model.config import LoraConfig
from r3jax.run import convert, pretrained, rgrpo, train
from r3jax.run.workdirs import CHECKPOINTS
from tests.checkpoint.test_hf import tensors
from tests.run import loops, models

LORA = {"rank": 4, "alpha": 8.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return loops.write_data(tmp_path_factory.mktemp("lora") / "data", count=4)


def sft_values(data: pathlib.Path, steps: int, **more) -> dict:
    values = loops.sft_config(models.untrained(), data, steps=steps)
    values |= {"lora": LORA, "valid_every": 2, "valid_rows": 4, "checkpoint": {"every": 2}}
    values["optimizer"] = {"learning_rate": 1e-2}
    return values | more


def rgrpo_values(data: pathlib.Path, steps: int) -> dict:
    values = loops.rgrpo_config(models.looking(), data, steps=steps)
    return values | {"lora": LORA, "refill": 0, "optimizer": {"learning_rate": 1e-2}}


@pytest.fixture(scope="module")
def taught(data) -> pathlib.Path:
    """The workdir of four steps of SFT."""
    workdir = data.parent / "sft"
    train.train(sft_values(data, 4), workdir)
    return workdir


def stored(workdir: pathlib.Path) -> list[str]:
    """The names of all leaves of the newest checkpoint's state."""
    with Store(workdir / CHECKPOINTS, read_only=True) as store:
        return sorted(store._stored(store.latest_step()))


def test_a_run_learns(taught):
    lines = metrics.read(taught / metrics.METRICS)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert [line["valid_loss"] for line in lines if "valid_loss" in line]


def test_a_checkpoint_holds_adapters_and_their_moments_alone(taught):
    arrays = [name.split("/") for name in stored(taught)]
    kept = [name for name in arrays if "lora" in name]
    assert len(kept) == 3 * 2 * 7  # weights and two moments, a and b of seven products
    assert {name[-1] for name in arrays if "lora" not in name} <= {"step", "count"}


def test_a_run_goes_on_from_its_adapters_bit_for_bit(data, taught):
    broken = data.parent / "broken"
    train.train(sft_values(data, 2), broken)
    train.train(sft_values(data, 4), broken)
    assert metrics.read(broken / metrics.METRICS) == metrics.read(taught / metrics.METRICS)
    assert tensors(broken / "export") == tensors(taught / "export")


def test_the_export_is_the_base_but_for_kernels_of_the_decoder(taught):
    before, after = (hf.load_hf(path) for path in (models.untrained(), taught / "export"))
    assert before.config == after.config
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), before.params, after.params)
    for path, has_changed in traverse_util.flatten_dict(changed).items():
        assert has_changed == (path[:2] == ("text", "layers") and path[-1] == "kernel"), path


def test_a_checkpoint_is_exported_with_the_base_it_learnt_beside(taught, tmp_path):
    convert.export_hf(taught, tmp_path / "out")
    assert tensors(tmp_path / "out") == tensors(taught / "export")

    file = taught / "hf" / "lora.json"
    assert json.loads(file.read_text())["lora"] == LORA
    with pytest.raises(CheckpointError, match="has another content than the model that the adap"):
        convert.export_hf(taught, tmp_path / "other", base=models.looking())
    with pytest.raises(CheckpointError, match=r"nowhere is not there.* say with --base"):
        convert.export_hf(taught, tmp_path / "other", base=tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def test_rgrpo_learns_adapters_against_the_base_as_reference(data):
    workdir = data.parent / "rgrpo"
    values = rgrpo_values(data, 3)
    del values["kind"]
    rgrpo.run(config_lib.build(rgrpo.RgrpoRunConfig, values), workdir)
    lines = metrics.read(workdir / metrics.METRICS)
    assert lines[-1]["kl"] > 1e-5 and all(line["sampler_gap"] < 1e-3 for line in lines)
    compiles = [line["compiles"] for line in metrics.read(workdir / metrics.TIMINGS)]
    assert compiles == compiles[:1] * 3
    assert all("lora" in name for name in stored(workdir) if name.startswith("params/"))
    base, export = (tensors(path) for path in (models.looking(), workdir / "export"))
    assert base.keys() == export.keys() and base != export


def test_a_run_goes_on_with_the_adapters_of_another(data, taught):
    """What SFT taught is what R-GRPO samples from, what it learns on, and its reference."""
    values = rgrpo_values(data, 1)
    values |= {"model": str(models.untrained()), "adapters": str(taught), "updates": 1}
    values["optimizer"] = {"learning_rate": 0.0}
    train.train(values, data.parent / "second")
    assert tensors(data.parent / "second" / "export") == tensors(taught / "export")
    (line,) = metrics.read(data.parent / "second" / metrics.METRICS)
    assert abs(line["kl"]) < 1e-6 and line["sampler_gap"] < 1e-3

    with pytest.raises(CheckpointError, match="adapters of rank 4 and alpha 8, but lora asks"):
        train.train(values | {"lora": {"rank": 2}}, data.parent / "third")
    with pytest.raises(CheckpointError, match=r"learnt beside: name that as model \(/.*untrained"):
        train.train(values | {"model": str(models.looking())}, data.parent / "third")
    with pytest.raises(CheckpointError, match=r"holds no hf/lora.json: expected the w"):
        train.train(values | {"adapters": str(data)}, data.parent / "third")
    with pytest.raises(CheckpointError, match="nowhere is not there: name the workdir of the run"):
        train.train(values | {"adapters": str(data / "nowhere")}, data.parent / "third")
    with pytest.raises(ValueError, match="but lora is None: say what they are like"):
        train.read(values | {"lora": None})


@pytest.fixture(scope="module")
def released(data) -> pathlib.Path:
    """A model in 16 bits, as released ones are."""
    target = data.parent / "released"
    model = hf.load_hf(models.looking(), "bfloat16")
    hf.save_hf(target, model.config, model.params, carry_from=models.looking())
    return target


def test_in_bfloat16_the_base_is_kept_in_16_bits_and_adapters_in_32(released):
    lora_config = LoraConfig(**LORA)
    start = pretrained.load_to_train(released, lora_config, "", "bfloat16", 0)
    kinds = {
        (lora.is_adapter(tuple(key.key for key in path)), str(leaf.dtype))
        for path, leaf in jax.tree.leaves_with_path(start.params)
    }
    assert kinds == {(True, "float32"), (False, "bfloat16")}
    expected = pretrained.shapes_to_train(start.config.adapted(None), lora_config, "bfloat16")
    found = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), start.params)
    assert found == expected


def test_a_base_in_float32_is_not_rounded_unsaid(data):
    values = sft_values(data, 2, dtype="bfloat16")
    with pytest.raises(ValueError, match="is stored in float32, and bfloat16 would round it: comp"):
        train.train(values, data.parent / "rounded")


@pytest.mark.slow
def test_rgrpo_in_bfloat16_goes_on_where_it_stopped(data, released):
    """As on one chip: the base lent to rollouts, micro-batches, a reference of adapters."""
    values = rgrpo_values(data, 2) | {"model": str(released), "dtype": "bfloat16"}
    whole, broken = data.parent / "whole", data.parent / "stopped"
    train.train(values | {"checkpoint": {"every": 1}}, whole)
    train.train(values | {"steps": 1}, broken)
    train.train(values, broken)
    assert metrics.read(broken / metrics.METRICS) == metrics.read(whole / metrics.METRICS)
    assert tensors(broken / "export") == tensors(whole / "export")
    assert hf.load_hf(whole / "export").extras.dtype == "float32"
    convert.export_hf(whole, data.parent / "again")
    assert tensors(data.parent / "again") == tensors(whole / "export")


def test_a_vision_tower_that_is_to_learn_beside_adapters_is_refused(data):
    values = sft_values(data, 2, optimizer={"frozen": ()})
    with pytest.raises(ValueError, match="name 'vision' in it, or leave lora out"):
        train.read(values)
