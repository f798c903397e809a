"""Runs on a mesh of devices: the numbers of one device, and nothing compiled on the way."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from r3jax import config as config_lib
from r3jax import metrics
from r3jax.checkpoint import hf
from r3jax.run import rgrpo, sft
from r3jax.update import losses
from tests.run import loops, models

MESH = {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return loops.write_data(tmp_path_factory.mktemp("world") / "data")


def small(config: dict) -> dict:
    """One shape of update, four groups or rows a step."""
    shapes = config["buckets"]
    shapes |= {"suffix_tokens": shapes["suffix_tokens"][-1:], "crops": shapes["crops"][-1:]}
    shapes |= {"fill": (1.0,)}
    return {name: value for name, value in config.items() if name != "kind"}


def rgrpo_config(data, mesh: dict | None = None, **more) -> rgrpo.RgrpoRunConfig:
    config = loops.rgrpo_config(models.looking(), data, steps=3)
    mesh = mesh or {}
    rollout = {"questions": 4, "episodes": 2, "tensor": mesh.get("tensor", 1)}
    config |= {"rollout": rollout, "micro_batch": 0, "refill": 0, "mesh": mesh}
    return config_lib.build(rgrpo.RgrpoRunConfig, small(config) | more)


adapters_config = functools.partial(rgrpo_config, lora={"rank": 4, "alpha": 8.0})


def sft_config(data, **more) -> sft.SftConfig:
    config = loops.sft_config(models.looking(), data, steps=3)
    return config_lib.build(sft.SftConfig, small(config) | {"valid_every": 2} | more)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, make",
    [(rgrpo, rgrpo_config), (rgrpo, adapters_config), (sft, sft_config)],
    ids=["rgrpo", "adapters", "sft"],
)
def test_a_run_on_a_mesh_has_the_numbers_of_one_device(kind, make, data, tmp_path):
    kind.run(make(data), tmp_path / "one")
    kind.run(make(data, mesh=MESH), tmp_path / "mesh")
    one, mesh = (metrics.read(tmp_path / name / metrics.METRICS) for name in ("one", "mesh"))
    assert len(mesh) == 3
    for ours, theirs in zip(mesh, one, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    compiles = [line["compiles"] for line in metrics.read(tmp_path / "mesh" / metrics.TIMINGS)]
    assert compiles == compiles[:1] * 3


@pytest.mark.slow
def test_bfloat16_is_what_a_run_computes_in_and_not_what_it_learns_in(data, tmp_path):
    config = dataclasses.replace(
        rgrpo_config(data),
        dtype="bfloat16",
        updates=2,
        micro_batch=2,
        loss=losses.RgrpoConfig(kl_coefficient=0.01),
    )
    export = rgrpo.run(config, tmp_path)
    saved = hf.load_hf(export).params
    assert {leaf.dtype for leaf in jax.tree.leaves(saved)} == {np.dtype(np.float32)}
    lines = metrics.read(tmp_path / metrics.METRICS)
    assert len(lines) == 3 and all(0 < line["sampler_gap"] < 0.5 for line in lines)
    timings = metrics.read(tmp_path / metrics.TIMINGS)
    assert [line["compiles"] for line in timings] == [timings[0]["compiles"]] * 3
    assert all(0 < line["goodput"] < 1 for line in timings)


def test_a_step_that_cannot_be_dealt_to_the_mesh_is_refused(data, tmp_path):
    mesh = {"data": 8, "fsdp": 1, "tensor": 1}
    with pytest.raises(ValueError, match=r"questions is 4, but the mesh deals .* to 8 \(data x"):
        rgrpo.run(rgrpo_config(data, mesh=mesh), tmp_path)
    with pytest.raises(ValueError, match="batch_size is 4, but the mesh deals"):
        sft.run(sft_config(data, mesh=mesh), tmp_path)
