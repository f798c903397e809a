"""The TPU configs: every preset is a run for as many chips as its slice has."""

import math

import pytest

from benchmarks import plans
from r3jax.plan import chips
from r3jax.run import experiment, pretrained, train

TPU = [name for name in plans.NAMES if "_tpu:v" in name]


@pytest.mark.parametrize("name", TPU)
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


@pytest.mark.parametrize("chips_", plans.SCALED)
def test_a_config_on_more_chips_has_a_question_and_a_share_of_the_weights_for_each(chips_):
    _, config, topology, *more = plans.scaled(chips_)
    values = experiment.load(plans.ROOT / config.removeprefix("--config="))
    _, record = train.read(experiment.override(values, more[:-1]))
    assert chips.slice_of(topology.removeprefix("--topology=")).chips == chips_
    assert record.mesh.fsdp == record.rollout.questions == chips_
    assert record.buckets.images[0].rows == record.rollout.tensor  # of a part's questions


def test_plans_of_more_and_more_chips_are_a_line_each():
    step = {"step_s": 6.06, "tokens_per_s": 13335.2, "update_mfu": 0.69, "collective_share": 0.08}
    found = plans.table({chips_: {"step": step | {"headroom": 0.81}} for chips_ in (16, 32)})
    assert found.count("\n|") == 4 and "python launch/plan.py --config=configs/rgrpo_tpu" in found
    assert [cell.strip() for cell in found.splitlines()[-1].split("|")[1:-1]] == [
        *("32", "32", "6.1 s", "13,335", "69%", "8%", "81%")
    ]


def test_the_config_of_one_chip_trains_adapters_in_two_stages():
    for preset, kind in (("sft", "sft"), ("rgrpo", "rgrpo")):
        _, config, topology = plans.command(f"colab_tpu:{preset}")
        values = experiment.load(plans.ROOT / config.removeprefix("--config="))
        found, record = train.read(values)
        assert topology == "--topology=v5e:1x1" and found == kind
        assert math.prod(record.mesh.sizes) == 1 and record.lora is not None
    first, second = (
        experiment.load(plans.ROOT / "configs" / f"colab_tpu.py:{preset}")
        for preset in ("sft", "rgrpo")
    )
    assert (first["model"], first["lora"]) == (second["model"], second["lora"])


@pytest.mark.parametrize("config", ["rgrpo_tpu", "sft_tpu"])
def test_a_preset_that_is_none_is_refused(config):
    with pytest.raises(ValueError, match="preset 'v9-8': expected one of v4-32, v5e-32"):
        experiment.load(plans.ROOT / "configs" / f"{config}.py:v9-8")


def test_a_file_without_presets_says_so():
    with pytest.raises(ValueError, match=r"look_again\.py has no presets: name the file without"):
        experiment.load(plans.ROOT / "configs" / "look_again.py:v5e-32")
