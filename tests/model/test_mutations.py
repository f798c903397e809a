"""The goldens notice mistakes: each one made on purpose moves the logits out of the tolerance.

What a port of Qwen2.5-VL gets wrong most easily: positions, windows, rotary layout, norms,
activations, biases, normalisation of pixels.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r3jax import patches
from r3jax.model import qwen, rope
from tests.model import released, sequences
from tests.model.test_golden import BUCKET, EVERY, LOGITS, golden, tiny

CASE = "interleaved"


def _inputs() -> sequences.Inputs:
    config = released.tiny_config("untied")
    return sequences.inputs(*sequences.golden_case(CASE, config), config, **BUCKET)


def _error(model, params, inputs) -> float:
    """The largest distance from the stored logits, in a program compiled anew."""
    logits = jax.jit(lambda p, given: model.apply({"params": p}, *given))(params, inputs)
    stored = golden("untied")[f"{CASE}/logits"]
    return float(np.abs(np.asarray(logits)[0, : len(stored), ::EVERY] - stored).max())


def _with_text(model, **changes) -> qwen.Qwen25VL:
    text = dataclasses.replace(model.config.text, **changes)
    return model.clone(config=dataclasses.replace(model.config, text=text))


def _with_full_blocks(model, *blocks: int) -> qwen.Qwen25VL:
    vision = dataclasses.replace(model.config.vision, full_attention_blocks=blocks)
    return model.clone(config=dataclasses.replace(model.config, vision=vision))


def test_without_a_mistake_the_logits_are_within_tolerance():
    assert _error(*tiny("untied"), _inputs()) < LOGITS


@pytest.mark.parametrize(
    "change",
    [
        lambda model: _with_text(model, mrope_section=(3, 3, 2)),
        lambda model: _with_text(model, rope_theta=1e4),
        lambda model: _with_text(model, rms_norm_eps=1e-5),
        lambda model: _with_full_blocks(model, 0, 1, 2, 3),
        lambda model: _with_full_blocks(model, 0, 2),
    ],
    ids=["mrope_section", "rope_theta", "rms_norm_eps", "all_blocks_full", "full_blocks_shifted"],
)
def test_a_wrong_number_in_the_configuration_is_noticed(change):
    model, params = tiny("untied")
    assert _error(change(model), params, _inputs()) > LOGITS


def _tanh_gelu(patch):
    original = jax.nn.gelu
    patch.setattr(jax.nn, "gelu", lambda x, approximate: original(x, approximate=True))


def _gelu_for_silu(patch):
    patch.setattr(jax.nn, "silu", lambda x: jax.nn.gelu(x, approximate=False))


def _interleaved_sections(patch):
    """Axes t h w t h w ... as in Qwen3-VL."""

    def text_angles(positions, section, theta):
        half = sum(section)
        frequency = np.float32(theta ** -(np.arange(half) / half))
        angles = jnp.moveaxis(positions[np.arange(half) % 3], 0, -1)
        angles = angles * jnp.broadcast_to(frequency, angles.shape)
        return jnp.concatenate([angles, angles], axis=-1)

    patch.setattr(rope, "text_angles", text_angles)


def _neighbour_pairs(patch):
    """Pairs of values i, i + 1 instead of i, i + H/2."""

    def rotate(x, cos, sin):
        turned = np.stack([-np.ones(x.shape[-1] // 2), np.ones(x.shape[-1] // 2)], -1).ravel()
        swapped = x.reshape(*x.shape[:-1], -1, 2)[..., ::-1].reshape(x.shape)
        turned = np.broadcast_to(turned.astype(np.float32), x.shape)
        return x * cos[..., None, :] + swapped * turned * sin[..., None, :]

    patch.setattr(rope, "rotate", rotate)


@pytest.mark.parametrize(
    "mistake", [_tanh_gelu, _gelu_for_silu, _interleaved_sections, _neighbour_pairs]
)
def test_a_wrong_function_is_noticed(mistake, monkeypatch):
    inputs = _inputs()
    mistake(monkeypatch)
    assert _error(*tiny("untied"), inputs) > LOGITS


def _one_axis_positions(inputs):
    return inputs._replace(positions=np.cumsum(np.ones_like(inputs.positions), -1) - 1)


def _next_position_after_all_image_tokens(inputs):
    """Text after an image goes on after its number of tokens instead of its larger side."""
    image = inputs.feature_index[0] >= 0
    skipped = np.cumsum(image) * ~image
    return inputs._replace(positions=inputs.positions + skipped.astype(np.int32))


def _swapped_rows_and_columns(inputs):
    return inputs._replace(images=inputs.images._replace(hw=inputs.images.hw[..., ::-1]))


def _images_see_each_other(inputs):
    segment = np.minimum(inputs.images.segment, 1)
    return inputs._replace(images=inputs.images._replace(segment=segment))


def _imagenet_normalisation(inputs):
    shape = (*inputs.images.patches.shape[:3], 3, -1)
    std, mean = (np.array(x, np.float32)[:, None] for x in (patches.STD, patches.MEAN))
    pixels = inputs.images.patches.reshape(shape) * std + mean
    wrong = (pixels - np.float32([[0.485], [0.456], [0.406]])) / np.float32(
        [[0.229], [0.224], [0.225]]
    )
    wrong = wrong.reshape(inputs.images.patches.shape)
    return inputs._replace(images=inputs.images._replace(patches=wrong))


@pytest.mark.parametrize(
    "mistake",
    [
        _one_axis_positions,
        _next_position_after_all_image_tokens,
        _swapped_rows_and_columns,
        _images_see_each_other,
        _imagenet_normalisation,
    ],
)
def test_a_wrong_input_is_noticed(mistake):
    model, params = tiny("untied")
    logits = sequences.logits(model, params, mistake(_inputs()))
    stored = golden("untied")[f"{CASE}/logits"]
    assert np.abs(logits[:, ::EVERY] - stored).max() > LOGITS


def test_windows_of_consecutive_patches_are_noticed(monkeypatch):
    def raster_chunks(rows, columns):
        return np.divmod(np.arange(rows * columns), patches.WINDOW**2)

    monkeypatch.setattr(patches, "_window_slots", raster_chunks)
    model, params = tiny("untied")
    logits = sequences.logits(model, params, _inputs())
    stored = golden("untied")[f"{CASE}/logits"]
    assert np.abs(logits[:, ::EVERY] - stored).max() > LOGITS


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.k_proj.bias",
        "visual.blocks.0.attn.qkv.bias",
        "visual.blocks.2.mlp.down_proj.bias",
        "visual.merger.mlp.2.bias",
        "visual.merger.ln_q.weight",
        "model.layers.2.post_attention_layernorm.weight",
    ],
)
def test_a_lost_tensor_is_noticed(name):
    model, _ = tiny("untied")
    tensors = released.tiny_tensors("untied")
    trivial = np.ones_like if name.endswith("weight") else np.zeros_like
    params = released.to_tree({**tensors, name: trivial(tensors[name])}, model.config)
    logits = sequences.logits(model, params, _inputs())
    stored = golden("untied")[f"{CASE}/logits"]
    assert np.abs(logits[:, ::EVERY] - stored).max() > LOGITS
