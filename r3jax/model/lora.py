"""Adapters in a tree of parameters: which leaves they are, how they begin, what they add up to.

A model whose config has `lora` declares them beside the kernels (`layers.Adapter`): of a product
with the parameters `kernel` and `bias`, `lora/a` and `lora/b`. They are all that a run with them
learns and keeps; the rest is its base.
"""

from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.typing import DTypeLike

from r3jax.arrays import Array
from r3jax.model import qwen
from r3jax.model.config import LoraConfig, ModelConfig

NAME = "lora"


def is_adapter(path: tuple[str, ...]) -> bool:
    """Whether a leaf with this path belongs to an adapter.

    >>> is_adapter(("text", "layers", "mlp", "up", "lora", "a"))
    True
    """
    return NAME in path


def adapters(params: dict) -> dict:
    """The part of a tree that belongs to adapters, without what is beside them; empty if none."""
    leaves = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({p: x for p, x in leaves.items() if is_adapter(p)})


def lasting(params: dict) -> dict:
    """What a checkpoint holds of a tree: the adapters, or all of one without any."""
    return adapters(params) or params


def with_adapters(params: dict, given: dict) -> dict:
    """A tree with these adapters, instead of its own if it has any."""
    leaves = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(given)
    return traverse_util.unflatten_dict(leaves)


def init(config: ModelConfig, key: Array) -> dict:
    """The adapters of a model as they begin, float32: they add nothing to it."""
    # Within one program, of which the compiler leaves out what nobody asks for: the base.
    return jax.jit(lambda key: adapters(qwen.init_params(config, key)))(key)


def base_in(dtype: DTypeLike, params: dict) -> dict:
    """The shapes of a tree whose base is kept in this dtype, and whose adapters are float32."""

    def shape(path: tuple, leaf: Any) -> jax.ShapeDtypeStruct:
        kept = leaf.dtype if is_adapter(tuple(key.key for key in path)) else dtype
        return jax.ShapeDtypeStruct(leaf.shape, kept)

    return jax.tree.map_with_path(shape, params)


def merged(config: LoraConfig, kernel: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A kernel [*inputs, *features] with what its adapter adds to it, float32."""
    rank = config.rank
    added = a.astype(np.float32).reshape(-1, rank) @ b.astype(np.float32).reshape(rank, -1)
    return kernel.astype(np.float32) + config.scale * added.reshape(kernel.shape)
