"""Where what a rollout keeps on devices lies on a mesh: groups are dealt, heads are split."""

from typing import NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax.batches import PromptBatch
from r3jax.mesh import BATCH, DECODE
from r3jax.model import caches, qwen
from r3jax.model.caches import KeyValues, Prefix, SuffixCache
from r3jax.model.config import ModelConfig, TextConfig
from r3jax.model.qwen import Policy
from r3jax.rollout.insertion import Taken
from r3jax.rollout.state import Arrivals, DecodeState


class Places(NamedTuple):
    """The shardings of what programs of a rollout return; None each where there is no mesh.

    `taken` are rows out of a state, `new` what they write into its cache.
    What has a row for each part of the groups, or for each group, is `dealt`; what every device
    needs, and what the host reads, is `whole`.
    """

    policy: Policy | None = None
    prompts: PromptBatch | None = None
    prefix: Prefix | None = None
    state: DecodeState | None = None
    arrivals: Arrivals | None = None
    taken: Taken | None = None
    new: SuffixCache | None = None
    dealt: NamedSharding | None = None
    whole: NamedSharding | None = None


def on(config: ModelConfig, groups: int, arriving: int, mesh: Mesh) -> Places:
    """Returns where a rollout of so many groups, `arriving` of them together, lies on a mesh."""
    prefix, state = of_prefix(config.text, arriving, mesh), of_state(config.text, groups, mesh)
    dealt = NamedSharding(mesh, PartitionSpec(BATCH))
    positions = NamedSharding(mesh, PartitionSpec(None, BATCH))
    return Places(
        of_policy(config, mesh),
        PromptBatch(*[dealt] * len(PromptBatch._fields))._replace(positions=positions),
        prefix,
        state,
        Arrivals(dealt, prefix, dealt, dealt, dealt),
        Taken(state.prefix, state.cache, dealt, positions, dealt),
        state.cache,
        dealt,
        mesh_lib.sharding((), (), mesh, DECODE),
    )


def of_policy(config: ModelConfig, mesh: Mesh) -> Policy:
    """The sharding of every parameter that a rollout reads: whole but for heads and the like."""
    axes, shapes = qwen.logical_axes(config), qwen.abstract_params(config)
    stacked, names = shapes["text"].pop("layers"), axes["text"].pop("layers")

    def of_layer(leaf: jax.ShapeDtypeStruct, axes: PartitionSpec) -> NamedSharding:
        return mesh_lib.sharding(tuple(axes)[1:], leaf.shape[1:], mesh, DECODE)

    layer = jax.tree.map(of_layer, stacked, names)
    params = mesh_lib.shardings(axes, shapes, mesh, DECODE)
    return Policy(params, [layer] * config.text.num_layers)


def of_prefix(config: TextConfig, groups: int, mesh: Mesh) -> Prefix:
    """The sharding of the prompts of groups."""
    place = _placer(config, groups, mesh)
    kept = place("groups", "kv_heads", None, None)
    layers = (KeyValues(kept, kept),) * config.num_layers
    return caches.Prefix(layers, place("groups", None))


def of_state(config: TextConfig, groups: int, mesh: Mesh) -> DecodeState:
    """The sharding of the rows of groups."""
    place = _placer(config, groups, mesh)
    kept = place("groups", "kv_heads", None, None, None)
    rows, slots, whole = place("groups", None), place("groups", None, None), place()
    return DecodeState(
        prefix=of_prefix(config, groups, mesh),
        keys=rows,
        cache=(KeyValues(kept, kept),) * config.num_layers,
        tokens=slots,
        source=slots,
        logp=slots,
        positions=place(None, "groups", None, None),
        length=rows,
        next_position=rows,
        automaton=rows,
        status=rows,
        steps=whole,
        waited=whole,
    )


def _placer(config: TextConfig, groups: int, mesh: Mesh):
    """From names of axes to a sharding, given how many groups and key heads there are."""
    sizes = {"groups": groups, "kv_heads": config.num_kv_heads}

    def place(*names: str | None) -> NamedSharding:
        shape = [sizes.get(name, 1) for name in names]
        return mesh_lib.sharding(names, shape, mesh, DECODE)

    return place
