"""FLOPs and bytes by formula: those of the model's own matrix products, and known sizes."""

import doctest
import math

import jax
import jax.numpy as jnp
import pytest

from r3jax import patches
from r3jax.model import counts, qwen
from r3jax.model.config import SIZES
from r3jax.patches import VisionBatch
from tests import tiny

MODEL = tiny.model()


def products(jaxpr) -> int:
    """FLOPs of all matrix products of a traced function; a scan's count as often as it runs."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)
        times = equation.params.get("length", 1)
        inner = [equation.params[k] for k in ("jaxpr", "call_jaxpr") if k in equation.params]
        total += times * sum(products(getattr(one, "jaxpr", one)) for one in inner)
    return total


def traced(method: str, *args) -> int:
    params = qwen.abstract_params(MODEL.config)
    made = jax.make_jaxpr(lambda p, *a: MODEL.apply({"params": p}, *a, method=method))
    return products(made(params, *args).jaxpr)


def test_the_examples_in_the_text_hold():
    found = doctest.testmod(counts)
    assert found.attempted and not found.failed


def test_a_prefill_has_as_many_flops_as_its_products():
    text, tokens = MODEL.config.text, 32
    x = jnp.zeros((2, tokens, text.hidden_size))
    positions, mask = jnp.zeros((3, 2, tokens), int), jnp.ones((2, tokens), bool)
    # A short prompt's scores are made whole, masked ones too.
    expected = counts.decoder_flops(text, 2 * tokens, pairs=2 * tokens**2)

    def prefill(params):
        policy = qwen.make_policy(MODEL, params)
        given = x, positions, policy.layers, mask
        return MODEL.apply({"params": policy.params}, *given, method="prefill")

    assert products(jax.make_jaxpr(prefill)(qwen.abstract_params(MODEL.config)).jaxpr) == expected


def test_logits_have_as_many_flops_as_their_product():
    text = MODEL.config.text
    assert traced("logits", jnp.zeros((7, text.hidden_size))) == counts.head_flops(text, 7)


def test_the_tower_has_as_many_flops_as_its_products():
    shape = (3, 1, 64)  # three images of a window each
    values = MODEL.config.vision.patch_values
    batch = VisionBatch(
        jnp.zeros((*shape, values)), jnp.ones(shape, int), jnp.zeros((*shape, 2), int)
    )
    assert traced("encode", batch) == counts.vision_flops(MODEL.config.vision, [(4, 4)] * 3)


def test_ragged_windows_count_their_own_pairs():
    windows = [4 * 4, 4 * 2, 1 * 4, 1 * 2]  # of 5x6 tokens
    expected = sum((patches.UNIT * units) ** 2 for units in windows)
    assert counts._window_pairs(5, 6) == expected


def test_an_update_is_three_forward_passes_of_what_is_trained():
    assert counts.update_flops(100, frozen=7) == 307


@pytest.mark.parametrize("size, billions", [("3B", 3.09), ("7B", 7.07)])
def test_a_decode_step_reads_the_decoder_and_its_head(size, billions):
    config = SIZES[size]
    assert counts.decode_bytes(config, 0, 0, itemsize=2) == pytest.approx(2e9 * billions, rel=5e-3)
    layers, heads = config.text.num_layers, config.text.num_kv_heads
    more = counts.decode_bytes(config, 5, 6, 2) - counts.decode_bytes(config, 0, 0, 2)
    assert more == 11 * 2 * 2 * layers * heads * 128
