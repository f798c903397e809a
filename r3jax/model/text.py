"""The decoder of Qwen2.5-VL. Its layers are the same whatever a token sees (`context.py`).

Rollouts run padded groups, suffix tokens [B, G, T] after prefixes shared by G: keys and values of
what came before go in, those of the new tokens come out, layer by layer. The update runs packed
streams over scanned layers.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from r3jax import mesh
from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels.attention import Backend
from r3jax.model import rope
from r3jax.model.caches import Prefix, SuffixCache
from r3jax.model.config import TextConfig
from r3jax.model.context import Grouped, Packed, Stepped
from r3jax.model.layers import (
    Linear,
    Remat,
    RMSNorm,
    SwiGLU,
    rematerialised,
    wide_product,
)
from r3jax.model.stream import Stream

EMBED, HEADS, KV_HEADS, HEAD, MLP = "embed", "heads", "kv_heads", "head", "mlp"


class TextAttention(nn.Module):
    """Grouped-query attention over what `seen` lets each token see; biases on q, k, v."""

    config: TextConfig
    backend: Backend

    @nn.compact
    def __call__(self, x, past, cos, sin, seen):
        config = self.config

        def project(name, heads, axis):
            shape, axes = (heads, config.head_dim), (EMBED, axis, HEAD)
            return Linear(shape, axes, bias=True, lora=config.lora, name=name)(x)

        q = rope.rotate(project("q", config.num_heads, HEADS), cos, sin)
        k = rope.rotate(project("k", config.num_kv_heads, KV_HEADS), cos, sin)
        v = project("v", config.num_kv_heads, KV_HEADS)
        out, kv = seen.attend(q, k, v, past, self.backend)
        width, axes = (config.hidden_size,), (HEADS, HEAD, EMBED)
        return Linear(width, axes, inputs=2, lora=config.lora, name="o")(out), kv


class TextLayer(nn.Module):
    """Attention, then SwiGLU, each added to what came in. Scanned over layers."""

    config: TextConfig
    backend: Backend

    @nn.compact
    def __call__(self, x, past, cos, sin, seen):
        eps = self.config.rms_norm_eps
        x = mesh.constrain(x, "rows", *(None,) * (x.ndim - 1))
        attend = TextAttention(self.config, self.backend, name="attention")
        out, kv = attend(RMSNorm(EMBED, eps, name="norm1")(x), past, cos, sin, seen)
        x = x + out
        width, lora = self.config.intermediate_size, self.config.lora
        mlp = SwiGLU(width, (EMBED, MLP), bias=False, lora=lora, name="mlp")
        return x + mlp(RMSNorm(EMBED, eps, name="norm2")(x)), kv


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
        rules = mesh.scoring(self.config.vocab_size)
        table = mesh.constrain(self.embedding.astype(x.dtype), "vocab", EMBED, rules=rules)
        return wide_product(x.reshape(-1, x.shape[-1]), table.T).reshape(*x.shape[:-1], -1)


class Decoder(nn.Module):
    """Word embeddings, layers, final norm, and the head unless it is tied to the embeddings."""

    config: TextConfig
    tied: bool
    remat: Remat = "dots"
    backend: Backend = Backend.XLA

    def setup(self):
        self.embed = Embedding(self.config)
        self.layers = nn.scan(
            rematerialised(TextLayer, self.remat),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, *(nn.broadcast,) * 3),
            length=self.config.num_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(self.config, self.backend)
        self.norm = RMSNorm(EMBED, self.config.rms_norm_eps)
        if not self.tied:
            self.head = Linear(
                (self.config.vocab_size,),
                (EMBED, "vocab"),
                rules=mesh.scoring(self.config.vocab_size),
                wide=True,
            )

    def __call__(
        self, x: Float[Array, "B T D"], positions: Int[Array, "3 B T"], mask: Bool[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Returns hidden states of whole sequences, whose tokens see the real ones before them."""
        x, positions = x[:, None], positions[:, :, None]
        seen = Grouped(mask[:, None], [])
        x, _ = self.layers(x, [], *self._rotary(positions, x.dtype), seen)
        return self.norm(x)[:, 0]

    def extend(
        self,
        x: Float[Array, "B G T D"],
        positions: Int[Array, "3 B G T"],
        layers: Sequence[dict],
        valid: Bool[Array, "B G T"] | None = None,
        prefix: Prefix | None = None,
        cache: SuffixCache | None = None,
        start: Int[Array, "B G"] | None = None,
    ) -> tuple[Float[Array, "B G T D"], SuffixCache]:
        """Returns hidden states and the new tokens' keys and values, [B, K, G, T, H] of each layer.

        `layers` are the parameters of each layer. Tokens attend causally to the `valid` ones among
        them (all, if it is not given), to the prefix, and to the slots of the cache before `start`:
        what lies in later slots is never seen, so padding may be written there.
        """
        pasts, masks = [], []
        if cache is not None:
            pasts.append(cache)
            masks.append(_filled(cache, start))
        if prefix is not None:
            pasts.append(prefix.layers)
            masks.append(prefix.mask)
        return self._one_by_one(x, positions, layers, pasts, Grouped(valid, masks))

    def step(
        self,
        x: Float[Array, "B G 1 D"],
        positions: Int[Array, "3 B G 1"],
        layers: Sequence[dict],
        prefix: Prefix,
        cache: SuffixCache,
        start: Int[Array, "B G"],
        steps: SuffixCache,
        number: Array,
    ) -> tuple[Float[Array, "B G 1 D"], SuffixCache]:
        """Returns hidden states of one more token a row, and `steps` with its keys and values.

        `layers` are the parameters of each layer. `steps` [B, K, G, C, H] are keys and values of
        the last `number` tokens of all rows, which the cache, filled up to `start`, does not hold
        yet.
        """
        seen = Stepped(number, [_filled(cache, start), prefix.mask])
        return self._one_by_one(x, positions, layers, [steps, cache, prefix.layers], seen)

    def run_packed(
        self, x: Float[Array, "R J D"], positions: Int[Array, "3 R J"], stream: Stream
    ) -> Float[Array, "R J D"]:
        """Returns hidden states of a stream of prompts and the suffixes that see them."""
        x, _ = self.layers(x, [], *self._rotary(positions, x.dtype), Packed(stream))
        return self.norm(x)

    def _one_by_one(self, x, positions, layers, pasts, seen) -> tuple[Array, SuffixCache]:
        """Runs layers apart: each reads what is kept for it where it lies. Scanned, all of it would
        be copied into one array first."""
        layer = TextLayer(self.config, self.backend, parent=None)
        rotary, done = self._rotary(positions, x.dtype), []
        for params, *past in zip(layers, *pasts, strict=True):
            x, kv = layer.apply({"params": params}, x, past, *rotary, seen)
            done.append(kv)
        return self.norm(x), tuple(done)

    def _rotary(self, positions: Array, dtype) -> tuple[Array, Array]:
        """Cosines and sines of positions [3, ...], of the shape [..., H]."""
        angles = rope.text_angles(positions, self.config.mrope_section, self.config.rope_theta)
        return jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype)

    def logits(self, hidden: Float[Array, "*X D"]) -> Float[Array, "*X V"]:
        """Returns float32 logits of hidden states."""
        rules = mesh.scoring(self.config.vocab_size)
        hidden = mesh.constrain(hidden, "rows", *(None,) * (hidden.ndim - 1), rules=rules)
        out = self.embed.attend(hidden) if self.tied else self.head(hidden)
        return out.astype(jnp.float32)


def _filled(cache: SuffixCache, start: Int[Array, "B G"]) -> Bool[Array, "B G S"]:
    """Which slots lie before `start`."""
    return jnp.arange(cache[0].k.shape[3])[None, None] < start[..., None]
