"""Products that are wider than what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.model import layers


def test_a_wide_product_of_bfloat16_is_rounded_once_and_has_its_gradient():
    keys = jax.random.split(jax.random.key(0))
    x, kernel = (jax.random.normal(key, (48, 48)).astype(jnp.bfloat16) for key in keys)
    exact = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    found = layers.wide_product(x, kernel)
    assert found.dtype == jnp.float32
    error, rounded = (np.abs(np.asarray(y, np.float64) - exact).max() for y in (found, x @ kernel))
    assert error < 1e-4 < 1e-2 < rounded

    def gradient(product):
        return jax.grad(lambda *given: product(*given).astype(jnp.float32).sum(), argnums=(0, 1))

    ours, plain = (gradient(product)(x, kernel) for product in (layers.wide_product, jnp.matmul))
    for one, other in zip(ours, plain, strict=True):
        assert one.dtype == jnp.bfloat16
        one, other = (np.asarray(y, np.float32) for y in (one, other))
        np.testing.assert_allclose(one, other, rtol=0.02, atol=0.1)
