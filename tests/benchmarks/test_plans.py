"""The TPU configs: every preset is a run for as many chips as its slice has."""

import math

import pytest

from benchmarks import plans
from r3jax.plan import chips
from r3jax.run import experiment, pretrained, train


@pytest.mark.parametrize("name", plans.NAMES)
def test_a_preset_is_a_run_for_its_slice(name):
    _, config, topology = plans.command(name)
    kind, record = train.read(experiment.load(plans.ROOT / config.removeprefix("--config=")))
    where = chips.slice_of(topology.removeprefix("--topology="))
    preset = name.partition(":")[2]
    assert preset == f"{where.chip.name}-{where.chips}"
    assert math.prod(record.mesh.sizes) == where.chips
    assert record.together % where.chips == 0  # a row of a stream for each chip
    if kind == "rgrpo":
        assert where.chips % record.rollout.tensor == 0
        assert record.rollout.questions % (where.chips // record.rollout.tensor) == 0
        text = pretrained.describe(record.model).text
        assert text.num_kv_heads % record.rollout.tensor == 0


@pytest.mark.parametrize("config", ["rgrpo_tpu", "sft_tpu"])
def test_a_preset_that_is_none_is_refused(config):
    with pytest.raises(ValueError, match="preset 'v9-8': expected one of v4-32, v5e-32"):
        experiment.load(plans.ROOT / "configs" / f"{config}.py:v9-8")


def test_a_file_without_presets_says_so():
    with pytest.raises(ValueError, match=r"look_again\.py has no presets: name the file without"):
        experiment.load(plans.ROOT / "configs" / "look_again.py:v5e-32")
