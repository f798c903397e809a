"""Splash attention computes what XLA's does, values and gradients.

It is interpreted here, and compiled for a TPU where libtpu is installed. Tolerances are those of
rounding: in float32 of sums in another order; in bfloat16 (2^-9 of a value) of the scaled queries,
the weights and what comes out, each rounded once.
"""

import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax.kernels import attention, attention_splash, attention_xla
from r3jax.kernels.attention import Backend
from r3jax.plan import chips, topology
from tests.kernels.attending import (
    XLA,
    assert_close,
    differentiated,
    draw_group,
    draw_rows,
    widened,
)
from tests.model import sequences
from tests.model.test_golden import tiny

# B, G, T, P, S, K, N, H: prompts, caches and suffixes, each in no block, in one and in several.
GROUPS = [
    (2, 3, 5, 7, 0, 2, 4, 8),
    (1, 2, 3, 0, 6, 1, 3, 16),
    (2, 1, 130, 0, 0, 1, 2, 8),
    (1, 2, 4, 260, 3, 2, 2, 8),
    (1, 2, 140, 600, 0, 1, 2, 8),
]
# X, T, N, H: short rows share a block, long ones have several.
ROWS = [(5, 16, 2, 8), (3, 48, 1, 16), (2, 64, 2, 8), (1, 600, 2, 8)]
VALUES, GRADIENTS = dict(rtol=1e-5, atol=1e-5), dict(rtol=1e-4, atol=1e-4)
SPLASH = {
    "group": differentiated(functools.partial(attention_splash.attend_group, interpret=True)),
    "rows": differentiated(functools.partial(attention_splash.attend_segments, interpret=True)),
}


def assert_same(found, expected):
    """Equal but for sums in another order, in float32."""
    np.testing.assert_allclose(found[1], expected[1], **VALUES)
    for mine, theirs in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(mine, theirs, **GRADIENTS)


@given(st.sampled_from(GROUPS), st.integers(0, 10**6))
@settings(max_examples=15)
def test_splash_attends_to_a_group_as_xla_does(shape, seed):
    drawn = draw_group(shape, seed)
    assert_same(SPLASH["group"](*drawn), XLA["group"](*drawn))


@given(st.sampled_from(ROWS), st.integers(0, 10**6))
@settings(max_examples=12)
def test_splash_attends_to_segments_as_xla_does(shape, seed):
    drawn = draw_rows(shape, seed)
    assert_same(SPLASH["rows"](*drawn), XLA["rows"](*drawn))


@pytest.mark.slow
@pytest.mark.parametrize("kind, draw, shape", [("group", draw_group, (4, 2, 5, 7, 3, 2, 4, 8)),
                                               ("rows", draw_rows, (512, 16, 2, 8))])  # fmt: skip
def test_every_device_of_a_mesh_attends_to_its_groups_and_heads(kind, draw, shape):
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(2, 2, 2), jax.devices())
    name = {"group": "attend_group", "rows": "attend_segments"}[kind]
    attend = functools.partial(getattr(attention_splash, name), interpret=True)
    drawn = draw(shape, seed=0)
    there = jax.device_put(drawn, NamedSharding(mesh, PartitionSpec()))
    assert_same(differentiated(mesh_lib.on(mesh, attend))(*there), XLA[kind](*drawn))


def test_key_heads_that_a_mesh_cannot_split_are_named():
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(1, 1, 8), jax.devices())
    attend = mesh_lib.on(mesh, attention_splash.attend_group)
    (q, k, v, _, _), _ = draw_group((1, 1, 4, 0, 0, 2, 8, 8), seed=0)
    with pytest.raises(ValueError, match="8 query heads and 2 key heads on a mesh of"):
        attend(q, k, v, None)


def test_splash_in_bfloat16_is_close_to_xla_in_float32():
    for kind, draw_one, shape in (("rows", draw_rows, ROWS[2]), ("group", draw_group, GROUPS[3])):
        half = draw_one(shape, 0, jnp.bfloat16)
        assert_close(SPLASH[kind](*half), XLA[kind](*widened(half)))


def test_without_a_mask_all_suffix_tokens_are_seen():
    (q, k, v, _, pasts), _ = draw_group(GROUPS[0], seed=1)
    found = attention_splash.attend_group(q, k, v, None, pasts, interpret=True)
    np.testing.assert_allclose(found, attention.attend_group(q, k, v, None, pasts), **VALUES)


def test_a_model_attends_by_its_backend_everywhere(monkeypatch):
    model, params = tiny("untied")
    picture = sequences.draw(56, 84, seed=1)
    tokens = sequences.compose([picture], model.config, seed=1)
    inputs = sequences.inputs(tokens, [picture], model.config)
    weight = np.ones(len(tokens), np.float32)

    def gradient(model):
        return jax.jit(jax.grad(lambda p: sequences.loss(model, p, inputs, weight)))(params)

    expected = gradient(model)
    for name in ("attend_group", "attend_segments"):
        ours = functools.partial(getattr(attention_splash, name), interpret=True)
        monkeypatch.setattr(attention_splash, name, ours)
        monkeypatch.delattr(attention_xla, name)
    found = gradient(model.clone(backend=Backend.SPLASH))
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(mine - theirs) <= 1e-4 * np.linalg.norm(theirs)


@pytest.mark.slow
def test_splash_compiles_for_a_tpu():
    pytest.importorskip("libtpu")
    chip = topology.devices(chips.slice_of("v5e:1x1"))
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(), chip)
    place = NamedSharding(mesh, PartitionSpec())

    def compile_for_chip(attend, draw, *shape):
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            jax.eval_shape(lambda: draw(shape, 0, jnp.bfloat16)),
        )
        with jax.set_mesh(mesh):  # Pallas asks it for the kind of chip
            return differentiated(attend).lower(*shapes).compile()

    # The heads of Qwen2.5-VL-7B: of its decoder, of its vision tower's windows and whole images.
    suffixes = 1, 4, 512, 2048, 0, 4, 28, 128
    splash = compile_for_chip(attention_splash.attend_group, draw_group, *suffixes)
    assert "splash_mha_dkv_segmented" in splash.as_text()
    xla = compile_for_chip(attention_xla.attend_group, draw_group, *suffixes)
    temporary = [x.memory_analysis().temp_size_in_bytes for x in (splash, xla)]
    assert temporary[0] < temporary[1], temporary  # no scores are kept
    compile_for_chip(attention_splash.attend_group, draw_group, 1, 2, 128, 512, 256, 4, 28, 128)
    for rows in ((32, 64, 16, 80), (1, 2048, 16, 80)):
        compile_for_chip(attention_splash.attend_segments, draw_rows, *rows)


def test_what_splash_cannot_compute_is_an_error():
    q, k = jnp.zeros((1, 1, 4, 2, 16), jnp.float16), jnp.zeros((1, 2, 1, 4, 16), jnp.float16)
    message = r"found \['float16'\]: compute in one of them, or name the back-end 'xla'"
    with pytest.raises(ValueError, match=message):
        attention.attend_group(q, k, k, None, (), Backend.SPLASH)
    with pytest.raises(ValueError, match=message):
        attention.attend_segments(q[0], q[0], q[0], np.ones((1, 4), np.int32), Backend.SPLASH)


def test_a_platform_has_its_backend():
    assert attention.default_backend("tpu", jnp.float32) is Backend.SPLASH
    assert attention.default_backend("gpu", jnp.float32) is Backend.XLA
    with pytest.raises(ValueError, match="platform 'abacus', only for cpu, gpu and tpu: name one"):
        attention.default_backend("abacus", jnp.float32)


@pytest.mark.parametrize("module", [attention, attention_splash])
def test_examples_in_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
