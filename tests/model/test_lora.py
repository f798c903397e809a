"""Adapters: nothing at first, then what their products add up to, on every path through a model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from r3jax.checkpoint import hf
from r3jax.model import lora, qwen
from r3jax.model.config import LoraConfig
from r3jax.rollout import engine
from r3jax.update import losses
from tests import tiny

LORA = LoraConfig(rank=4, alpha=8.0)


def adapted_model() -> qwen.Qwen25VL:
    return tiny.model().clone(config=tiny.model().config.adapted(LORA))


def fresh() -> dict:
    return lora.init(adapted_model().config, jax.random.key(3))


def learnt() -> dict:
    """Adapters of which every one adds something, as after training."""
    leaves, structure = jax.tree.flatten(fresh())
    keys = jax.random.split(jax.random.key(4), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return structure.unflatten([x + 0.05 * jax.random.normal(k, x.shape) for x, k in pairs])


@functools.partial(jax.jit, static_argnums=0)
def scored(model: qwen.Qwen25VL, params: dict, batch: losses.UpdateBatch) -> jax.Array:
    logp = losses.score(model, losses.ForwardConfig(), params, batch, tiny.allowed()).logp
    return jnp.where(batch.suffix.trained, logp, 0)


def score(model: qwen.Qwen25VL, params: dict) -> np.ndarray:
    """The log-probs of what a teacher wrote."""
    taught = [tiny.teach(one) for one in tiny.taught_traces()]
    batch = tiny.pack([p for p, _ in taught], [[e] for _, e in taught])
    return np.asarray(scored(model, params, batch))


def test_an_adapter_stands_beside_every_product_of_the_decoder_and_nowhere_else():
    whole = lora.with_adapters(tiny.params(), fresh())
    expected = qwen.abstract_params(adapted_model().config)
    assert jax.tree.map(jnp.shape, whole) == jax.tree.map(lambda leaf: leaf.shape, expected)
    kernels = {p[:-1] for p in traverse_util.flatten_dict(whole) if p[-1] == "kernel"}
    beside = {p[:-2] for p in traverse_util.flatten_dict(fresh())}
    assert beside == {path for path in kernels if path[:2] == ("text", "layers")}
    assert len(beside) == 7


def test_fresh_adapters_change_no_bit():
    plain = score(tiny.model(), tiny.params())
    adapted = score(adapted_model(), lora.with_adapters(tiny.params(), fresh()))
    np.testing.assert_array_equal(adapted, plain)


def test_fresh_adapters_are_drawn_as_peft_draws_them():
    """Uniform within 1 / sqrt(width) of the product; other layers and other seeds have others."""
    found = traverse_util.flatten_dict(fresh())
    a = np.asarray(found["text", "layers", "attention", "o", "lora", "a"])  # [layers, N, H, rank]
    bound = 1 / np.sqrt(a.shape[1] * a.shape[2])
    assert 0.95 * bound < np.abs(a).max() <= bound
    assert abs(a.std() * np.sqrt(3) / bound - 1) < 0.1
    other = lora.init(adapted_model().config, jax.random.key(5))
    again = other["text"]["layers"]["attention"]["o"]["lora"]["a"]
    assert not np.any(a[0] == a[1]) and not np.any(a == again)


def test_a_model_with_adapters_is_the_model_that_they_are_merged_into(tmp_path):
    adapters = learnt()
    whole = lora.with_adapters(tiny.params(), adapters)
    adapted = score(adapted_model(), whole)
    hf.save_hf(tmp_path / "merged", adapted_model().config, whole)
    merged = hf.load_hf(tmp_path / "merged")
    assert merged.config == tiny.model().config and merged.extras.dtype == "float32"
    np.testing.assert_allclose(score(tiny.model(), merged.params), adapted, atol=2e-4)
    assert np.abs(adapted - score(tiny.model(), tiny.params())).max() > 0.1

    # By hand, for one of them.
    base, found = (traverse_util.flatten_dict(tree) for tree in (whole, merged.params))
    down = ("text", "layers", "mlp", "down")
    a, b = (np.float64(base[*down, "lora", name]) for name in "ab")
    expected = np.float64(base[*down, "kernel"]) + 8.0 / 4 * np.einsum("lir,lrj->lij", a, b)
    np.testing.assert_allclose(found[*down, "kernel"], expected, atol=1e-6)


def test_in_16_bits_a_merged_kernel_would_lose_what_was_learnt():
    """Why export is in float32 unless told otherwise, and a rollout keeps adapters apart."""
    kernel = np.float32(jnp.asarray([[0.5, -0.25]], jnp.bfloat16))
    a, b = np.ones((1, 4), np.float32), np.full((4, 2), 1e-5, np.float32)
    merged = lora.merged(LORA, kernel, a, b)
    assert np.all(merged != kernel)
    assert np.all(merged.astype(jnp.bfloat16).astype(np.float32) == kernel)


def test_rollouts_sample_with_adapters_and_their_log_probs_are_the_updates():
    model, params = adapted_model(), lora.with_adapters(tiny.looking_params(), learnt())
    how = engine.RolloutConfig(2, 3)
    eng = engine.make_engine(model, tiny.tk(), tiny.FORM, tiny.BUCKETS, how)
    groups = engine.collect(eng, eng.policy(params), tiny.questions(2), seed=0, step=0)
    other = tiny.make_engine(2, 3)
    policy = other.policy(tiny.looking_params())
    plain = engine.collect(other, policy, tiny.questions(2), seed=0, step=0)
    assert groups[0].episodes[0].tokens.tolist() != plain[0].episodes[0].tokens.tolist()
    episodes = [list(group.episodes) for group in groups]
    batch = tiny.pack([group.prompt for group in groups], episodes)
    found = np.asarray(scored(model, params, batch))
    trained = np.asarray(batch.suffix.trained)
    assert trained.sum() > 20
    np.testing.assert_allclose(found[trained], batch.suffix.logp_sampled[trained], atol=1e-4)


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}])
def test_an_adapter_of_nothing_is_refused(options):
    with pytest.raises(ValueError, match="lora needs a rank and an alpha above 0"):
        LoraConfig(**options)
