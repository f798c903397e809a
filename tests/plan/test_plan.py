"""Runs compiled for slices of every kind of chip: a model of two layers, as wide as it must be."""

import functools
import importlib.util
import json
import pathlib

import jax
import pytest

from r3jax import compiles
from r3jax.checkpoint import hf_config
from r3jax.model import counts, qwen
from r3jax.model.config import ModelConfig, TextConfig, VisionConfig
from r3jax.plan import chips, costs, programs, report, times
from r3jax.run import experiment, plan

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="no compiler of TPUs: make test fetches it, the extra tpu of setup.py has it",
)
TOPOLOGIES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
WHOLE = "v5e"
COMPILED = {"cut-looks", "admit", "decode", "update"}  # kernels, rows, collectives
LENDING = {"split", "stack"}
COMPILE = programs.Compiler.take
PROMPT, SUFFIX, EPISODES = 256, 384, 2


def small() -> ModelConfig:
    text = TextConfig(8192, 1024, 2, 8, 4, 4096)
    vision = VisionConfig(depth=2, out_hidden_size=1024, full_attention_blocks=(1,))
    ids = dict.fromkeys(("image_token_id", "video_token_id"), 5) | {
        "vision_start_token_id": 6,
        "vision_end_token_id": 7,
    }
    return ModelConfig(text, vision, **ids)


def config(directory: pathlib.Path, **more) -> dict:
    """R-GRPO of four groups, parameters split over all four chips, heads over two in rollouts."""
    directory.mkdir(exist_ok=True)
    written = hf_config.released_config(small(), hf_config.HFExtras())
    (directory / "config.json").write_text(json.dumps(written))
    buckets = {
        "prompt_tokens": (PROMPT,),
        "suffix_tokens": (SUFFIX,),
        "look_tokens": 130,
        "images": ({"rows": 2, "windows": 12, "slots": 64},),
        "crops": ({"rows": 2, "windows": 12, "slots": 64},),
        "fill": (1.0,),
        "originals": (480, 640),
    }
    return {
        "kind": "rgrpo",
        "model": str(directory),
        "data": "",
        "steps": 10,
        "buckets": buckets,
        "rollout": {"questions": 4, "episodes": EPISODES, "tensor": 2},
        "optimizer": {"frozen": ("vision",)},
        "loss": {"kl_coefficient": 0.01},
        "logit_chunk": 256,
        "dtype": "bfloat16",
        "remat": "full",
        "mesh": {"fsdp": 4},
    } | more


@functools.cache
def made(kind: str, directory: pathlib.Path) -> plan.Plan:
    """The plan for a kind of chip: of all programs for one kind, of those with kernels for others.

    What is not compiled is lowered.
    """
    with pytest.MonkeyPatch.context() as patch:
        if kind != WHOLE:
            patch.setattr(programs.Compiler, "take", _take_some)
        return plan.plan(config(directory), TOPOLOGIES[kind], lambda _: None)


def _take_some(self, name: str, function, *args):
    if name.split()[0] in COMPILED | LENDING:
        return COMPILE(self, name, function, *args)
    return compiles.returned(
        programs.lower(self._mesh, function, programs.placed(self._mesh, args))
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("model") / "two_layers"


def of(found: plan.Plan, kind: str):
    (one,) = (p for p in found.programs if p.name.split()[0] == kind)
    return one


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_every_program_of_a_run_compiles_and_fits(kind, directory):
    found = made(kind, directory)
    kinds = {one.kind for one in found.programs}
    assert kinds >= COMPILED
    if kind == WHOLE:
        assert kinds >= {"reshard", "put-image", "encode-looks", "encode-images", "prefill"}
        assert kinds >= {"append", "reference"}
    assert found.headroom > 0.1 and all(one.costs is not None for one in found.programs)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_decoding_gathers_no_weights(kind, directory):
    text = small().text
    smallest = text.hidden_size * text.num_kv_heads * text.head_dim * 2 // 2  # a chip's part of k
    burst = of(made(kind, directory), "decode").costs
    for one in burst.collectives:
        assert one.kind == "all-reduce" or one.bytes < smallest / 4, one
    assert burst.collective_bytes["all-reduce"] > 0  # of what heads and widths are split over
    admitted = of(made(kind, directory), "admit").costs
    assert not admitted.collectives  # a part of the groups is seated where it is


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_an_update_exchanges_weights_gradients_and_what_is_scored(kind, directory):
    text, tokens = small().text, 4 * (PROMPT + EPISODES * SUFFIX)
    layers = 2 * text.num_layers * counts.layer_weights(text)  # bytes, in bfloat16
    found = of(made(kind, directory), "update").costs.collective_bytes
    scored = 2 * text.hidden_size * 4 * EPISODES * SUFFIX  # hidden states of all tokens
    # Weights once for the forward pass and once more where it is made again; hidden states twice.
    assert 2 * layers < found["all-gather"] < 2.1 * (layers + scored)
    assert layers < found["reduce-scatter"] < 1.1 * (layers + scored)
    assert found["all-reduce"] < 0.01 * layers
    # The head and its gradient, between where it is kept and where it is scored, and words.
    moved = 3 * 4 * text.vocab_size / 4 + 2 * 4 * tokens
    assert found["all-to-all"] < text.hidden_size * moved


@needs_compiler
@pytest.mark.slow
def test_flops_are_those_of_the_model_and_padding(directory):
    text = small().text
    found = of(made("v5e", directory), "update").costs.flops
    tokens = PROMPT + EPISODES * SUFFIX  # of a chip
    layers = 2 * text.num_layers * tokens * counts.layer_weights(text)
    head = counts.head_flops(text, 256 * -(-EPISODES * SUFFIX // 256))
    last = 2 * text.num_layers * tokens * text.hidden_size * text.intermediate_size
    # Forward; made again, but for a layer's last product; twice as much for the gradient. Attention
    # is the kernel's own.
    assert found == pytest.approx(4 * layers - last + 4 * head, rel=0.02)


@needs_compiler
@pytest.mark.slow
def test_a_plan_is_told_to_people_and_to_programs(directory):
    found = made("v5e", directory)
    told = "\n".join(report.lines(found))
    assert "**v5e:2x2**, 4 chips of 15.75 GiB" in told and "predicted" in told
    plain = json.loads(json.dumps(report.as_json(found)))
    assert {one["name"] for one in plain["programs"]} == {one.name for one in found.programs}
    for one in plain["programs"]:
        assert 0 < one["hbm_bytes"] < one["hbm_limit_bytes"] and one["predicted_s"] >= 0
    step, parts = plain["step"], found.of_step()
    update = parts["reference"].total + parts["update"].total
    assert step["update_s"] == pytest.approx(update)
    assert step["step_s"] == pytest.approx(step["rollout_s"] + step["update_s"])
    assert 0 < step["update_mfu"] < 1 and 0 <= step["collective_share"] < 1
    assert step["chip_hours"] == pytest.approx(10 * 4 * step["step_s"] / 3600)


@needs_compiler
@pytest.mark.slow
def test_one_chip_has_the_base_of_adapters_once(directory, monkeypatch):
    """Rollouts are lent it, stack after stack, of which no more than one is there twice."""
    monkeypatch.setattr(programs.Compiler, "take", _take_some)
    alone = {"mesh": {}, "lora": {"rank": 8, "alpha": 8.0}}
    how = {"questions": 2, "episodes": EPISODES, "exchange": 1}
    found = plan.plan(config(directory, rollout=how, **alone), "v5e:1x1", lambda _: None)
    text = small().text
    base = 2 * qwen.count_params(small())
    stack = 2 * text.num_layers * text.hidden_size * text.intermediate_size
    layers = 2 * text.num_layers * counts.layer_weights(text)
    kinds = {one.kind for one in found.programs}
    assert kinds >= COMPILED | LENDING and "reshard" not in kinds
    apart = [one.needs.peak for one in found.programs if one.kind in LENDING]
    assert base + stack < max(apart) < base + 1.5 * stack
    burst = of(found, "decode").needs
    assert base < burst.arguments + burst.resident < base + 0.5 * layers
    # Moments of adapters alone; the reference keeps no base of its own.
    update = of(found, "update").needs
    assert base < update.arguments + update.resident < base + 0.5 * layers


def test_what_does_not_fit_is_named_with_how_much_is_missing():
    where, gib = chips.slice_of("v5e:2x2"), chips.GIB
    nothing = costs.Costs(0.0, 0.0, ())
    compiled = programs.Program("decode 8+8", programs.Memory(gib, 0, gib, gib), nothing, 1.0)
    refused = programs.Program("update 8+8", programs.Memory(0, 0, 18 * gib), None, 1.0)
    step = times.Step({"decode": 4, "update": 1}, 100, 1.0, "nothing much")
    found = report.Plan(where, (), (compiled, refused), step, 10)
    told = "\n".join(report.lines(found))
    assert report.as_json(found)["step"] is None
    assert "does not fit: update 8+8 by 2.25 GiB" in told and "no step is predicted" in told
    assert report.suggestion({8: -0.1, 4: 0.2}, "batch_size").startswith("batch_size=4 is the larg")
    assert "no batch_size fits: 4 needs 30%" in report.suggestion({8: -1, 4: -0.3}, "batch_size")


@pytest.mark.parametrize(
    "message, gib",
    [
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Used 20.50G of 15.75G hbm.", 20.5),
        ("the total memory required for HLO temporaries (29.00G) exceeds available HBM", 31.0),
        ("Aborting compilation early. Requires 3.00T, has 90.96G available", 3072.0),
    ],
)
def test_what_the_compiler_says_of_memory_is_understood(message, gib):
    needs = programs._refused(jax.errors.JaxRuntimeError(message), given=2 * chips.GIB)
    assert needs.arguments == 2 * chips.GIB and needs.peak == pytest.approx(gib * chips.GIB)
    with pytest.raises(jax.errors.JaxRuntimeError, match="another"):
        programs._refused(jax.errors.JaxRuntimeError("another error"), given=0)


def test_a_run_without_a_plan_is_refused():
    values = experiment.load(pathlib.Path(__file__).parents[2] / "configs" / "look_again.py")
    with pytest.raises(ValueError, match="plans are for rgrpo and sft, found 'look_again'"):
        plan.plan(values, "v5e:2x2", lambda _: None)
