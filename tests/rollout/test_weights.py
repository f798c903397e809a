"""The weights of rollouts: lent by an update on one device, copied elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from r3jax import mesh as mesh_lib
from r3jax.model import lora, qwen
from r3jax.model.config import LoraConfig
from r3jax.rollout import engine, weights
from tests import tiny

CONFIG = tiny.model().config.adapted(LoraConfig(rank=4))


def tree() -> dict:
    """A base in 16 bits, adapters in 32, on the device."""
    base = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tiny.params())
    return lora.with_adapters(base, lora.init(CONFIG, jax.random.key(1)))


def model() -> qwen.Qwen25VL:
    return tiny.model().clone(config=CONFIG, dtype=jnp.bfloat16)


def is_stack(path: tuple) -> bool:
    return path[:2] == ("text", "layers") and not lora.is_adapter(path)


def test_what_is_lent_is_there_once_and_comes_back_bit_for_bit():
    lending = weights.Lent(CONFIG, jnp.bfloat16, None)
    params, expected = tree(), jax.device_get(tree())
    copied = jax.device_get(qwen.make_policy(model(), tree()))
    policy = lending.to_rollout(params)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(policy), copied)
    for path, leaf in traverse_util.flatten_dict(params).items():
        assert leaf.is_deleted() == is_stack(path), path
    assert policy.params["vision"] is params["vision"]  # neither copied nor taken apart

    given = jax.tree.leaves(policy.layers)
    back = lending.to_update(policy, params)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(back), expected)
    assert jax.tree.map(lambda leaf: leaf.dtype, back) == jax.tree.map(
        lambda leaf: leaf.dtype, expected
    )
    number = len(jax.tree.leaves(lora.adapters(params))) * CONFIG.text.num_layers
    assert sum(not leaf.is_deleted() for leaf in given) == number  # the copies of adapters


@pytest.mark.parametrize(
    "adapted, devices, kind",
    [
        (True, 0, weights.Lent),
        (True, 1, weights.Lent),
        (True, 2, weights.Copied),
        (False, 0, weights.Copied),
    ],
)
def test_one_device_lends_the_base_of_adapters(adapted, devices, kind):
    mesh = None
    if devices:
        mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=devices), jax.devices()[:devices])
    used = model() if adapted else tiny.model()
    how = engine.RolloutConfig(2, 3)
    eng = engine.make_engine(used, tiny.tk(), tiny.FORM, tiny.BUCKETS, how, mesh=mesh)
    assert isinstance(weights.weights_of(eng.programs, used.config, used.dtype), kind)


def test_weights_sent_from_the_host_are_those_that_are_copied_on_a_device():
    on_host = jax.device_get(tree())
    sent = weights.sent(on_host, jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, sent, qwen.make_policy(model(), tree()))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(sent))
