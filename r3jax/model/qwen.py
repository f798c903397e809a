"""Qwen2.5-VL, whole: images to features, tokens and features to hidden states, those to logits.

Every stage of r3jax calls these methods on a plain parameter tree:

    model = qwen.Qwen25VL(config)
    features = model.apply({"params": params}, images, method="encode")
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels.attention import Backend
from r3jax.model.caches import Prefix, SuffixCache
from r3jax.model.config import ModelConfig
from r3jax.model.layers import Remat
from r3jax.model.stream import Stream
from r3jax.model.text import Decoder
from r3jax.model.vision import VisionTower
from r3jax.patches import UNIT, VisionBatch


class Qwen25VL(nn.Module):
    """The model as a function of its parameters; `dtype` is that of computation.

    `remat` is what the layers compute again for their gradient, `backend` what computes attention
    in both towers (of which `attention.default_backend` knows the platform's).
    """

    config: ModelConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "dots"
    backend: Backend = Backend.XLA

    def setup(self):
        config, how = self.config, (self.remat, self.backend)
        self.vision = VisionTower(config.vision, self.dtype, *how)
        self.text = Decoder(config.text, config.tie_word_embeddings, *how)

    def encode(self, images: VisionBatch) -> Float[Array, "F D"]:
        """Returns the features of all images as one flat table."""
        return self.vision(images)

    def embed(
        self,
        tokens: Int[Array, "*X"],
        feature_index: Int[Array, "*X"] | None = None,
        features: Float[Array, "F D"] | None = None,
    ) -> Float[Array, "*X D"]:
        """Embeds tokens; where `feature_index` is not -1, that row of `features` stands instead."""
        words = self.text.embed(tokens, self.dtype)
        if features is None:
            return words
        seen = jnp.take(features, jnp.maximum(feature_index, 0), axis=0).astype(self.dtype)
        return jnp.where((feature_index >= 0)[..., None], seen, words)

    def extend(
        self, x: Array, positions: Array, layers: Sequence[dict], **kwargs
    ) -> tuple[Float[Array, "B G T D"], SuffixCache]:
        """Runs the decoder over embedded suffixes; see `Decoder.extend`."""
        return self.text.extend(x, positions, layers, **kwargs)

    def step(
        self, x: Array, positions: Array, layers: Sequence[dict], *args
    ) -> tuple[Float[Array, "B G 1 D"], SuffixCache]:
        """Runs the decoder over one more embedded token a row; see `Decoder.step`."""
        return self.text.step(x, positions, layers, *args)

    def run_packed(
        self, x: Float[Array, "R J D"], positions: Int[Array, "3 R J"], stream: Stream
    ) -> Float[Array, "R J D"]:
        """Runs the decoder over an embedded stream; see `Decoder.run_packed`."""
        return self.text.run_packed(x, positions, stream)

    def prefill(
        self,
        x: Float[Array, "B P D"],
        positions: Int[Array, "3 B P"],
        layers: Sequence[dict],
        mask: Bool[Array, "B P"],
    ) -> tuple[Float[Array, "B P D"], Prefix]:
        """Runs embedded prompts; returns hidden states and the prefix to decode against."""
        prompts = x[:, None], positions[:, :, None]
        hidden, kept = self.text.extend(*prompts, layers, valid=mask[:, None])
        return hidden[:, 0], Prefix(jax.tree.map(lambda kv: kv[:, :, 0], kept), mask)

    def logits(self, hidden: Float[Array, "*X D"]) -> Float[Array, "*X V"]:
        """Returns float32 logits."""
        return self.text.logits(hidden)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "3 B T"],
        mask: Array,
        feature_index: Int[Array, "B T"] | None = None,
        images: VisionBatch | None = None,
    ) -> Float[Array, "B T V"]:
        """Logits of whole sequences: the plain form, for parity and notebooks."""
        features = None if images is None else self.encode(images)
        x = self.embed(tokens, feature_index, features)
        return self.logits(self.text(x, positions, mask))


class Policy(NamedTuple):
    """Parameters as a rollout reads them: in the dtype of computation, the decoder's layers apart.

    Of scanned layers, every token would copy each layer's weights out of the stack and cast them.
    """

    params: dict
    layers: Sequence[dict]


def make_policy(model: Qwen25VL, params: dict) -> Policy:
    """Returns the parameters and layers that `extend`, `prefill` and `step` take."""
    cast = jax.tree.map(lambda leaf: leaf.astype(model.dtype), params)
    layers = cast["text"].pop("layers")
    number = range(model.config.text.num_layers)
    return Policy(cast, [jax.tree.map(lambda leaf, i=i: leaf[i], layers) for i in number])


def _init(config: ModelConfig, key: Array):
    batch = VisionBatch(
        jnp.zeros((1, 1, UNIT, config.vision.patch_values)),
        jnp.ones((1, 1, UNIT), jnp.int32),
        jnp.zeros((1, 1, UNIT, 2), jnp.int32),
    )
    token = jnp.zeros((1, 1), jnp.int32)
    positions, mask = jnp.zeros((3, 1, 1), jnp.int32), jnp.ones((1, 1), bool)
    return Qwen25VL(config).init(key, token, positions, mask, token, batch)["params"]


def init_params(config: ModelConfig, key: Array) -> dict:
    """Returns random float32 parameters as a plain tree."""
    return nn.meta.unbox(jax.jit(functools.partial(_init, config))(key))


def _abstract(config: ModelConfig) -> dict:
    return jax.eval_shape(functools.partial(_init, config), jax.random.key(0))


def abstract_params(config: ModelConfig) -> dict:
    """Returns the tree of parameters as shapes, without making any."""
    return nn.meta.unbox(_abstract(config))


def logical_axes(config: ModelConfig) -> dict:
    """Returns, for every parameter, the names of its axes as a PartitionSpec."""
    return nn.get_partition_spec(_abstract(config))


def count_params(config: ModelConfig) -> int:
    """Returns the number of parameters of a configuration."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))
