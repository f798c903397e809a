"""The set-up in conftest.py holds: devices, shape checks, no rank promotion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from r3jax.kernels import attention


def test_eight_cpu_devices():
    assert [device.platform for device in jax.devices()] == ["cpu"] * 8


def test_a_wrong_shape_in_a_signature_is_an_error():
    q = np.zeros((1, 2, 3, 4), np.float32)
    with pytest.raises(TypeCheckError, match="segment"):
        attention.attend_segments(q, q, q, np.zeros((1, 5), np.int32))


def test_rank_promotion_is_an_error():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)
