"""The small parts that both towers are made of. Each weight is declared once, with its axes."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from r3jax import mesh
from r3jax.arrays import Array, Float
from r3jax.kernels import attention
from r3jax.model.config import LoraConfig

Dtype = Literal["float32", "bfloat16"]
"""What a model computes in."""

Remat = Literal["none", "dots", "full"]
"""What a layer computes again for its gradient: nothing; all but its matrix products and what comes
out of attention; everything."""

_POLICIES = {
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(attention.KEPT),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}


def rematerialised(layer: type[nn.Module], remat: Remat) -> type[nn.Module]:
    """Returns a layer to be scanned that keeps as much for its gradient as `remat` says."""
    if remat == "none":
        return layer
    return nn.remat(layer, prevent_cse=False, policy=_POLICIES[remat])


def wide_product(x: Float[Array, "X D"], kernel: Float[Array, "D Y"]) -> Float[Array, "X Y"]:
    """A product in float32 of numbers that may be narrower: rounded to bfloat16, logits of up to 32
    would be off by up to 0.06. Gradients are products in the narrower kind again."""
    return x @ kernel if x.dtype == jnp.float32 else _widened(x, kernel)


@jax.custom_vjp
def _widened(x: Array, kernel: Array) -> Array:
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def _widened_forward(x: Array, kernel: Array):
    return _widened(x, kernel), (x, kernel)


def _widened_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    gradient = gradient.astype(x.dtype)
    return gradient @ kernel.T, x.T @ gradient


_widened.defvjp(_widened_forward, _widened_backward)


class RMSNorm(nn.Module):
    """Root-mean-square norm: float32 inside, scaled after the cast back."""

    axis: str
    eps: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param(
            "scale", nn.with_logical_partitioning(nn.initializers.ones, (self.axis,)), x.shape[-1:]
        )
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        return wide.astype(x.dtype) * jnp.broadcast_to(scale.astype(x.dtype), x.shape)


class Adapter(nn.Module):
    """What LoRA adds to a product of x with a kernel [*inputs, *features] of these `axes`: nothing
    at first, since b begins with zeros."""

    features: tuple[int, ...]
    axes: tuple[str, ...]
    inputs: int
    config: LoraConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        given, rank = x.shape[-self.inputs :], self.config.rank
        # Uniform, as PEFT begins: a bound of 1 over the root of the width.
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", range(self.inputs), -1)
        axes = (*self.axes[: self.inputs], None), (None, *self.axes[self.inputs :])
        a = self.param("a", nn.with_logical_partitioning(init, axes[0]), (*given, rank))
        zeros = nn.with_logical_partitioning(nn.initializers.zeros, axes[1])
        b = self.param("b", zeros, (rank, *self.features))
        a, b = (
            mesh.constrain(y.astype(x.dtype), *names)
            for y, names in zip((a, b * self.config.scale), axes, strict=True)
        )
        width = math.prod(given)
        narrow = x.reshape(-1, width) @ a.reshape(width, rank)
        added = narrow @ b.reshape(rank, -1)
        return added.reshape(*x.shape[: -self.inputs], *self.features)


class Linear(nn.Module):
    """A product of the last `inputs` axes of x with a kernel [*inputs, *features].

    `axes` names every axis of the kernel; those of the features name the bias. `rules` say where
    the product is made on a mesh; a `wide` one is not rounded to the dtype of x, but float32.
    `lora` is what an adapter beside it is like, if there is one.
    """

    features: tuple[int, ...]
    axes: tuple[str, ...]
    inputs: int = 1
    bias: bool = False
    wide: bool = False
    rules: mesh.Rules = nn.FrozenDict(mesh.DECODE)
    lora: LoraConfig | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = x.shape[-self.inputs :] + self.features
        init = nn.initializers.variance_scaling(
            1.0, "fan_in", "normal", range(self.inputs), range(self.inputs, len(shape))
        )
        kernel = self.param("kernel", nn.with_logical_partitioning(init, self.axes), shape)
        # Gathered as it is computed with: left to the compiler, a product goes around the devices
        # part by part, and reads and writes its whole result each time.
        kernel = mesh.constrain(kernel.astype(x.dtype), *self.axes, rules=self.rules)
        # As one flat matrix product: XLA's gradient of a tensordot is several times slower on CPU.
        width = math.prod(shape[: self.inputs])
        product = wide_product if self.wide else jnp.matmul
        flat = product(x.reshape(-1, width), kernel.reshape(width, -1))
        y = flat.reshape(*x.shape[: -self.inputs], *self.features)
        if self.bias:
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[self.inputs :])
            bias = self.param("bias", zeros, self.features).astype(x.dtype)
            y = y + jnp.broadcast_to(bias, y.shape)
        if self.lora is not None:
            y = y + Adapter(self.features, self.axes, self.inputs, self.lora, name="lora")(x)
        return y


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)); the vision tower's has biases, the decoder's has none."""

    width: int
    axes: tuple[str, str]  # names of the model's width and of the hidden width
    bias: bool
    lora: LoraConfig | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        outer, hidden = self.axes
        alike = {"bias": self.bias, "lora": self.lora}
        gate = Linear((self.width,), (outer, hidden), **alike, name="gate")(x)
        up = Linear((self.width,), (outer, hidden), **alike, name="up")(x)
        down = Linear((x.shape[-1],), (hidden, outer), **alike, name="down")
        return down(jax.nn.silu(gate) * up)
