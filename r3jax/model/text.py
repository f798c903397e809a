"""The decoder of Qwen2.5-VL over groups: suffix tokens [B, G, T] after prefixes shared by G.

One call serves everything: prefill is a suffix without a prefix; the update runs suffixes against
a prefix; decoding and looks go on from a cache. Keys and values of what came before go in, those of
the new tokens come out, and `append` puts them into the cache, all layers at once.
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels import attention
from r3jax.model import rope
from r3jax.model.config import TextConfig
from r3jax.model.layers import Linear, RMSNorm, SwiGLU

EMBED, HEADS, KV_HEADS, HEAD, MLP = "embed", "heads", "kv_heads", "head", "mlp"


class Prefix(NamedTuple):
    """Keys and values of prompts, [L, B, K, P, H], and which of the P are real, bool [B, P]."""

    k: Array
    v: Array
    mask: Array


class SuffixCache(NamedTuple):
    """Keys and values of suffixes, [L, B, K, G, S, H]; S slots, filled from 0 on."""

    k: Array
    v: Array


def empty_cache(config: TextConfig, groups: int, episodes: int, slots: int, dtype) -> SuffixCache:
    """Returns a cache of zeros for `groups` x `episodes` rows."""
    shape = (config.num_layers, groups, config.num_kv_heads, episodes, slots, config.head_dim)
    return SuffixCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def grow(cache: SuffixCache, slots: int) -> SuffixCache:
    """Returns the cache with room for `slots` tokens."""
    more = [(0, 0)] * 4 + [(0, slots - cache.k.shape[4]), (0, 0)]
    return SuffixCache(*(jnp.pad(part, more) for part in cache))


def append(cache: SuffixCache, new: SuffixCache, start: Int[Array, "B G"]) -> SuffixCache:
    """Writes keys and values of T new tokens into S slots, from slot `start` on."""

    def write_row(row, values, at):  # [L, K, S, H], [L, K, T, H]
        return jax.lax.dynamic_update_slice(row, values.astype(row.dtype), (0, 0, at, 0))

    write = jax.vmap(jax.vmap(write_row, in_axes=(2, 2, 0), out_axes=2), (1, 1, 0), 1)
    return SuffixCache(*(write(old, values, start) for old, values in zip(cache, new)))


class TextAttention(nn.Module):
    """Grouped-query attention over the shared prefix and the own suffix; biases on q, k, v."""

    config: TextConfig

    @nn.compact
    def __call__(self, x, cos, sin, valid, pasts):
        config = self.config

        def project(name, heads, axis):
            return Linear((heads, config.head_dim), (EMBED, axis, HEAD), bias=True, name=name)(x)

        q = rope.rotate(project("q", config.num_heads, HEADS), cos, sin)
        k = rope.rotate(project("k", config.num_kv_heads, KV_HEADS), cos, sin)
        v = project("v", config.num_kv_heads, KV_HEADS)
        k, v = jnp.moveaxis(k, 3, 1), jnp.moveaxis(v, 3, 1)  # heads first, as they are kept
        out = attention.attend_group(q, k, v, valid, pasts)
        o = Linear((config.hidden_size,), (HEADS, HEAD, EMBED), inputs=2, name="o")
        return o(out), SuffixCache(k, v)


class TextLayer(nn.Module):
    """Attention, then SwiGLU, each added to what came in. Scanned over layers."""

    config: TextConfig

    @nn.compact
    def __call__(self, x, past, cos, sin, valid, past_masks):
        pasts = [attention.Past(*kv, seen) for kv, seen in zip(past, past_masks, strict=True)]
        eps = self.config.rms_norm_eps
        attend = TextAttention(self.config, name="attention")
        out, kv = attend(RMSNorm(EMBED, eps, name="norm1")(x), cos, sin, valid, pasts)
        x = x + out
        mlp = SwiGLU(self.config.intermediate_size, (EMBED, MLP), bias=False, name="mlp")
        return x + mlp(RMSNorm(EMBED, eps, name="norm2")(x)), kv


Remat = Literal["none", "dots", "full"]
"""What is computed again for the gradient: nothing, all but matrix products, every layer."""
REMAT_POLICIES = {
    "full": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Embedding(nn.Module):
    """The table of word embeddings, which a tied model also uses as its head."""

    config: TextConfig

    def setup(self):
        init = nn.initializers.normal(self.config.hidden_size**-0.5)
        shape = (self.config.vocab_size, self.config.hidden_size)
        boxed = nn.with_logical_partitioning(init, ("vocab", EMBED))
        self.embedding = self.param("embedding", boxed, shape)

    def __call__(self, tokens: Int[Array, "*X"], dtype) -> Float[Array, "*X D"]:
        return jnp.take(self.embedding, tokens, axis=0).astype(dtype)

    def attend(self, x: Float[Array, "*X D"]) -> Float[Array, "*X V"]:
        return jnp.einsum("...d,vd->...v", x, self.embedding.astype(x.dtype))


class Decoder(nn.Module):
    """Word embeddings, layers, final norm, and the head unless it is tied to the embeddings."""

    config: TextConfig
    tied: bool
    remat: Remat = "none"

    def setup(self):
        layer = TextLayer
        if self.remat != "none":
            policy = REMAT_POLICIES[self.remat]
            layer = nn.remat(TextLayer, prevent_cse=False, policy=policy)
        self.embed = Embedding(self.config)
        self.layers = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, *(nn.broadcast,) * 4),
            length=self.config.num_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(self.config)
        self.norm = RMSNorm(EMBED, self.config.rms_norm_eps)
        if not self.tied:
            self.head = Linear((self.config.vocab_size,), (EMBED, "vocab"))

    def __call__(
        self,
        x: Float[Array, "B G T D"],
        positions: Int[Array, "3 B G T"],
        valid: Bool[Array, "B G T"] | None = None,
        prefix: Prefix | None = None,
        cache: SuffixCache | None = None,
        start: Int[Array, "B G"] | None = None,
    ) -> tuple[Float[Array, "B G T D"], SuffixCache]:
        """Returns hidden states and the new tokens' keys and values, [L, B, K, G, T, H].

        Tokens attend causally to the `valid` ones among them (all, if it is not given), to the
        prefix, and to the slots of the cache before `start`: what lies in later slots is never
        seen, so padding may be written there.
        """
        angles = rope.text_angles(positions, self.config.mrope_section, self.config.rope_theta)
        cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
        pasts, masks = [], []
        if cache is not None:
            pasts.append(cache)
            masks.append(jnp.arange(cache.k.shape[4])[None, None] < start[..., None])
        if prefix is not None:
            pasts.append(prefix[:2])
            masks.append(prefix.mask)
        x, kv = self.layers(x, pasts, cos, sin, valid, masks)
        return self.norm(x), kv

    def logits(self, hidden: Float[Array, "*X D"]) -> Float[Array, "*X V"]:
        """Returns float32 logits of hidden states."""
        out = self.embed.attend(hidden) if self.tied else self.head(hidden)
        return out.astype(jnp.float32)
