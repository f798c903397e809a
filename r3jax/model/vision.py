"""The vision tower of Qwen2.5-VL: patches to one feature for each 2x2 block of patches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from r3jax import mesh
from r3jax.arrays import Array, Float
from r3jax.kernels import attention
from r3jax.kernels.attention import Backend
from r3jax.model import rope
from r3jax.model.config import VisionConfig
from r3jax.model.layers import Linear, Remat, RMSNorm, SwiGLU, rematerialised
from r3jax.patches import UNIT, VisionBatch

EMBED, HEADS, HEAD, MLP = "vision_embed", "vision_heads", "vision_head", "vision_mlp"


class VisionAttention(nn.Module):
    """Attention over windows, or over whole images where `full` is true."""

    config: VisionConfig
    backend: Backend

    @nn.compact
    def __call__(self, x: Array, cos: Array, sin: Array, segment: Array, full: Array) -> Array:
        shape = (3, self.config.num_heads, self.config.head_dim)
        qkv = Linear(shape, (EMBED, "qkv", HEADS, HEAD), bias=True, name="qkv")(x)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        # Rotated in float32, as the published tower does.
        q, k = (rope.rotate(y.astype(jnp.float32), cos, sin).astype(x.dtype) for y in (q, k))

        def over_windows(*arrays):
            rows = (y.reshape(-1, *y.shape[2:]) for y in arrays)
            return attention.attend_segments(*rows, self.backend)

        def over_images(*arrays):
            R, W, U = segment.shape
            rows = (y.reshape(R, W * U, *y.shape[3:]) for y in arrays)
            return attention.attend_segments(*rows, self.backend)

        if segment.shape[1] == 1:  # one window a row: the two are the same
            out = over_windows(q, k, v, segment)
        else:
            shape = q.shape
            out = jax.lax.cond(
                full,
                lambda *a: over_images(*a).reshape(shape),
                lambda *a: over_windows(*a).reshape(shape),
                *(q, k, v, segment),
            )
        out = out.reshape(q.shape)
        width = (self.config.hidden_size,)
        return Linear(width, (HEADS, HEAD, EMBED), inputs=2, bias=True, name="proj")(out)


class VisionBlock(nn.Module):
    """Attention, then SwiGLU, each added to what came in. Scanned over depth."""

    config: VisionConfig
    backend: Backend

    @nn.compact
    def __call__(self, x: Array, full: Array, cos: Array, sin: Array, segment: Array):
        x = mesh.constrain(x, "rows", None, None, None)
        attend = VisionAttention(self.config, self.backend, name="attention")
        x = x + attend(RMSNorm(EMBED, name="norm1")(x), cos, sin, segment, full)
        mlp = SwiGLU(self.config.intermediate_size, (EMBED, MLP), bias=True, name="mlp")
        return x + mlp(RMSNorm(EMBED, name="norm2")(x)), None


class Merger(nn.Module):
    """Joins each 2x2 block of patches into one feature as wide as the decoder."""

    config: VisionConfig

    @nn.compact
    def __call__(self, x: Float[Array, "R W U D"]) -> Float[Array, "F E"]:
        x = RMSNorm(EMBED, name="norm")(x).reshape(-1, UNIT * self.config.hidden_size)
        x = Linear(x.shape[-1:], ("merged", MLP), bias=True, name="hidden")(x)
        x = jax.nn.gelu(x, approximate=False)
        return Linear((self.config.out_hidden_size,), (MLP, "embed"), bias=True, name="out")(x)


class VisionTower(nn.Module):
    """From a `VisionBatch` to features [R * W * U / 4, out_hidden_size].

    Source: Qwen2.5-VL as in Transformers; full-attention blocks see each image whole, the others
    windows of 112x112 pixels; images never see each other.
    """

    config: VisionConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "dots"
    backend: Backend = Backend.XLA

    @nn.compact
    def __call__(self, batch: VisionBatch) -> Float[Array, "F E"]:
        config = self.config
        x = jnp.asarray(batch.patches, self.dtype)
        x = Linear((config.hidden_size,), ("patch", EMBED), name="patch_embed")(x)
        angles = rope.vision_angles(batch.hw, config.head_dim)
        full = jnp.isin(jnp.arange(config.depth), jnp.array(config.full_attention_blocks, int))
        blocks = nn.scan(
            rematerialised(VisionBlock, self.remat),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
            length=config.depth,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(config, self.backend, name="blocks")
        x, _ = blocks(x, full, jnp.cos(angles), jnp.sin(angles), batch.segment)
        return Merger(config, name="merger")(x)
