"""The optimizer: schedules, what is frozen, what decays, what is clipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r3jax.update import state

# A tree with the names of the model's; layers are stacked on the first axis.
PARAMS = {
    "vision": {"merger": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones((2,))}},
    "text": {
        "embed": {"embedding": jnp.ones((4, 2))},
        "layers": {"norm1": {"scale": jnp.ones((2, 2))}, "q": {"bias": jnp.ones((2, 2, 1))}},
        "norm": {"scale": jnp.ones((2,))},
    },
}


def test_schedules_warm_up_and_fall():
    def rates(steps, **options):
        rate = state.learning_rate(state.OptimizerConfig(learning_rate=2.0, **options))
        return [float(rate(step)) for step in steps]

    assert rates((0, 5, 500)) == [2.0, 2.0, 2.0]
    assert rates((0, 2, 4, 9), warmup_steps=4) == [0.0, 1.0, 2.0, 2.0]
    fall = {"warmup_steps": 2, "total_steps": 10, "final_fraction": 0.1}
    np.testing.assert_allclose(
        rates((1, 2, 6, 10, 99), schedule="linear", **fall), [1.0, 2.0, 1.1, 0.2, 0.2], rtol=1e-6
    )
    np.testing.assert_allclose(
        rates((2, 6, 10), schedule="cosine", **fall), [2.0, 1.1, 0.2], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "step"}, r"schedule must be one of .* found 'step'"),
        ({"schedule": "cosine", "warmup_steps": 5}, "needs total_steps above warmup_steps"),
    ],
)
def test_impossible_schedules_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        state.OptimizerConfig(**options)


def test_parts_are_frozen_by_name_and_unknown_names_are_refused():
    params = PARAMS
    config = state.OptimizerConfig(frozen=("vision", "text/embed"))
    optimizer = state.make_optimizer(config, params)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    still = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
        if not leaf.any()
    }
    assert all(name.startswith(("vision/", "text/embed/")) for name in still)
    frozen = jax.tree.leaves((params["vision"], params["text"]["embed"]))
    assert len(still) == len(frozen)
    assert state.is_frozen(config, "vision") and not state.is_frozen(config, "text")
    assert state.is_frozen(config, "text/embed")
    with pytest.raises(ValueError, match=r"frozen names \['visio'\] match no parameter; the top"):
        state.make_optimizer(state.OptimizerConfig(frozen=("visio",)), params)


def test_weight_decay_pulls_matrices_and_no_scales_or_biases():
    params = PARAMS
    config = state.OptimizerConfig(learning_rate=0.5, weight_decay=0.1, frozen=())
    optimizer = state.make_optimizer(config, params)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        decays = path[-1].key in ("kernel", "embedding")
        np.testing.assert_allclose(leaf, -0.05 if decays else 0.0, rtol=1e-6)


def test_adapters_learn_and_decay_alone():
    pair = {"a": jnp.ones((2, 2, 1)), "b": jnp.ones((2, 1, 2))}
    layers = {"q": {"kernel": jnp.ones((2, 2, 2)), "lora": pair}}
    params = {"vision": PARAMS["vision"], "text": {"layers": layers}}
    config = state.OptimizerConfig(learning_rate=0.5, weight_decay=0.1)
    optimizer = state.make_optimizer(config, params)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        adapts = path[-2].key == "lora"
        np.testing.assert_allclose(leaf, -0.05 if adapts else 0.0, rtol=1e-6)
    assert sum(optimizer.changes) == 2


def test_an_optimizer_that_has_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="leaves nothing to learn: name fewer parts"):
        state.make_optimizer(state.OptimizerConfig(frozen=("vision", "text")), PARAMS)


def test_gradients_are_clipped_by_their_norm_over_what_is_trained():
    params = {"a": {"kernel": jnp.ones((2, 2))}, "b": {"kernel": jnp.ones((2, 2))}}
    config = state.OptimizerConfig(learning_rate=1.0, clip_norm=1.0, eps=1.0, frozen=("b",))
    optimizer = state.make_optimizer(config, params)
    gradient = {"a": {"kernel": jnp.full((2, 2), 5.0)}, "b": {"kernel": jnp.full((2, 2), 1e6)}}
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    # Clipped to 0.5 each; Adam's first step is g / (|g| + eps).
    np.testing.assert_allclose(updates["a"]["kernel"], -0.5 / 1.5, rtol=1e-5)
    assert not updates["b"]["kernel"].any()
