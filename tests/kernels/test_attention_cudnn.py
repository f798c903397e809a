"""What cuDNN is asked is what XLA's attention computes; a GPU, where there is one, answers.

In bfloat16, against XLA in float32 on the same numbers.
"""

import functools
import os
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r3jax.kernels import attention, attention_cudnn
from r3jax.kernels.attention import Backend
from tests.kernels.attending import (
    XLA,
    assert_close,
    differentiated,
    draw_group,
    draw_rows,
    widened,
)

# Without a cuDNN to ask, JAX is told of one: its version decides nothing that is tested here.
CUDNN = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
TO_CUDNN = {
    "group": functools.partial(attention.attend_group, backend=Backend.CUDNN),
    "rows": functools.partial(attention.attend_segments, backend=Backend.CUDNN),
}
# Odd lengths among them.
HALVES = [("group", draw_group, (2, 3, 5, 7, 4, 2, 4, 16)), ("rows", draw_rows, (2, 65, 2, 80))]


def compare(kind, draw_one, shape):
    half = draw_one(shape, 0, jnp.bfloat16)
    assert_close(differentiated(TO_CUDNN[kind])(*half), XLA[kind](*widened(half)))


@pytest.mark.parametrize("kind, draw_one, shape", HALVES)
def test_the_program_for_a_gpu_calls_cudnn_forward_and_backward(kind, draw_one, shape, monkeypatch):
    monkeypatch.setattr(CUDNN, lambda: 91000)
    traced = differentiated(TO_CUDNN[kind]).trace(*draw_one(shape, 0, jnp.bfloat16))
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    for call in ("__cudnn$fmhaScaleBiasSoftmax", "__cudnn$fmhaScaleBiasSoftmaxBackward"):
        assert program.count(f"@{call}(") == 1


def as_cudnn_is_called(q, k, v, *, mask, implementation):
    assert implementation == "cudnn" and not any(length % 2 for length in mask.shape[2:])
    return jax.nn.dot_product_attention(q, k, v, mask=mask, implementation="xla")


@pytest.mark.parametrize("kind, draw_one, shape", HALVES)
def test_what_cudnn_is_asked_is_what_xla_computes(kind, draw_one, shape, monkeypatch):
    """The same call, answered by JAX's own XLA attention: keys, masks, padding and gradients."""
    nn = types.SimpleNamespace(dot_product_attention=as_cudnn_is_called)
    monkeypatch.setattr(attention_cudnn, "jax", types.SimpleNamespace(nn=nn))
    compare(kind, draw_one, shape)


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU")
def test_cudnn_computes_it_on_a_gpu():
    """In a process of its own, since tests run on CPU devices."""
    module = "tests.kernels.test_attention_cudnn"
    code = f"from {module} import HALVES, compare\nfor one in HALVES: compare(*one)"
    environment = {**os.environ, "JAX_PLATFORMS": "cuda"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    "dtype, width, message",
    [
        (jnp.float32, 16, r"float16, found \['float32'\]: compute in bfloat16, or name the back"),
        (jnp.bfloat16, 12, "multiple of 8 up to 128, found 12: name the back-end 'xla'"),
        (jnp.bfloat16, 136, "multiple of 8 up to 128, found 136"),
    ],
)
def test_what_cudnn_cannot_compute_is_an_error(dtype, width, message):
    q, k = jnp.zeros((1, 1, 4, 2, width), dtype), jnp.zeros((1, 2, 1, 4, width), dtype)
    with pytest.raises(ValueError, match=message):
        attention.attend_group(q, k, k, None, (), Backend.CUDNN)
    with pytest.raises(ValueError, match=message):
        attention.attend_segments(q[0], q[0], q[0], np.ones((1, 4), np.int32), Backend.CUDNN)
