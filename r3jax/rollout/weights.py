"""How the weights that an update changes come to the rollouts, which read them otherwise.

An update scans over stacks of layers, a rollout reads every layer apart, in the dtype of
computation (`qwen.Policy`). Mostly a rollout has a copy. A base beside which adapters learn never
changes and is in that dtype already: one chip has no room for two of it, and lends it instead.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from r3jax.model import lora
from r3jax.model.config import ModelConfig
from r3jax.model.qwen import Policy
from r3jax.rollout.programs import Programs


class Copied:
    """Rollouts have a copy, which is gone with the last name for it."""

    def __init__(self, programs: Programs):
        self._copy = programs.policy

    def to_rollout(self, params: dict) -> Policy:
        """The weights as rollouts read them."""
        return self._copy(params)

    def to_update(self, policy: Policy, params: dict) -> dict:
        """The weights as updates read them, of which `params` were given to rollouts."""
        return params

    def kept(self, params: dict) -> dict:
        """What lies there beside a policy."""
        return params

    def programs(self, params: dict, take: Callable) -> Policy:
        """Takes (`warm.Take`) all programs of this; returns the shapes that rollouts read."""
        return take("reshard", self._copy, params)


class Lent:
    """Rollouts have the base itself and a copy of the adapters: stack after stack is taken apart
    and put together again, so that no more than one of them is there twice.

    What has been lent is gone where it was, until it is taken back. `where` is the only device, if
    it has a name.
    """

    def __init__(self, config: ModelConfig, dtype: DTypeLike, where: NamedSharding | None):
        number = config.text.num_layers

        def split(leaf: jax.Array) -> list[jax.Array]:
            return [leaf[layer].astype(dtype) for layer in range(number)]

        self._split = jax.jit(split, out_shardings=where)
        self._stack = jax.jit(lambda parts: jnp.stack(parts), out_shardings=where)

    def to_rollout(self, params: dict) -> Policy:
        """The weights as rollouts read them."""
        rest, stacks = _apart(params)
        found = {}
        for path, leaf in stacks.items():
            found[path] = jax.block_until_ready(self._split(leaf))
            if not lora.is_adapter(path):
                leaf.delete()
        return Policy(rest, _by_layer(found))

    def to_update(self, policy: Policy, params: dict) -> dict:
        """The weights as updates read them, of which `params` were given to rollouts."""
        rest, stacks = _apart(params)
        layers = [traverse_util.flatten_dict(layer) for layer in policy.layers]
        for path in [path for path in stacks if not lora.is_adapter(path)]:
            parts = [layer[path] for layer in layers]
            stacks[path] = jax.block_until_ready(self._stack(parts))
            for part in parts:
                part.delete()
        together = traverse_util.unflatten_dict(stacks)
        return {**rest, "text": {**rest["text"], "layers": together}}

    def kept(self, params: dict) -> dict:
        """What lies there beside a policy."""
        return lora.adapters(params)

    def programs(self, params: dict, take: Callable) -> Policy:
        """Takes (`warm.Take`) all programs of this; returns the shapes that rollouts read."""
        rest, stacks = _apart(params)
        found, known = {}, {}
        for path, leaf in stacks.items():
            kind, size = (leaf.shape, leaf.dtype), "x".join(map(str, leaf.shape))
            is_first = kind not in known
            if is_first:
                known[kind] = take(f"split {size}", self._split, leaf)
            found[path] = jax.tree.map(_like, known[kind])
            if is_first and not lora.is_adapter(path):
                take(f"stack {size}", self._stack, found[path])
        return Policy(rest, _by_layer(found))


def sent(params: dict, dtype: DTypeLike) -> Policy:
    """Weights of the host as rollouts on one device read them, where nothing trains: layer by
    layer, so that no stack of them ever lies there."""
    rest, stacks = _apart(params)
    found = {path: [jnp.asarray(layer, dtype) for layer in leaf] for path, leaf in stacks.items()}
    return Policy(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), rest), _by_layer(found))


Weights = Copied | Lent
"""Gives weights to rollouts and takes them back before the update."""


def weights_of(programs: Programs, config: ModelConfig, dtype: DTypeLike) -> Weights:
    """Returns how the weights of a model, which computes in `dtype`, come to these programs."""
    where = programs.places.whole
    if config.text.lora is not None and (where is None or where.mesh.size == 1):
        return Lent(config, dtype, where)
    return Copied(programs)


def _like(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Another array of the same shape."""
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=shape.sharding)


def _apart(params: dict) -> tuple[dict, dict[tuple, Any]]:
    """A tree without the decoder's layers, and their stacks by path."""
    text = dict(params["text"])
    stacks = traverse_util.flatten_dict(text.pop("layers"))
    return {**params, "text": text}, stacks


def _by_layer(found: dict[tuple, list]) -> list[dict]:
    """A tree for each layer, of lists with an array for each."""
    number = range(len(next(iter(found.values()))))
    return [traverse_util.unflatten_dict({p: x[i] for p, x in found.items()}) for i in number]
