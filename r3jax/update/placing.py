"""Where the state of training and its batches lie on a mesh."""

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax.mesh import UPDATE
from r3jax.model import qwen
from r3jax.model.config import ModelConfig
from r3jax.update import losses
from r3jax.update.losses import UpdateBatch
from r3jax.update.state import Optimizer, TrainState, init_state


def of_params(config: ModelConfig, mesh: Mesh) -> dict:
    """The sharding of every parameter of a model."""
    axes, shapes = qwen.logical_axes(config), qwen.abstract_params(config)
    return mesh_lib.shardings(axes, shapes, mesh, UPDATE)


def of_state(config: ModelConfig, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """The sharding of every leaf of a state: moments lie where their parameters do."""
    params, whole = of_params(config, mesh), mesh_lib.sharding((), (), mesh, UPDATE)
    shapes = jax.eval_shape(lambda p: init_state(p, optimizer), qwen.abstract_params(config))
    known = {_names(path): sharding for path, sharding in jax.tree.leaves_with_path(params)}

    def of_leaf(path, _) -> NamedSharding:
        names = _names(path)  # a moment's end with those of its parameter
        return next((known[names[i:]] for i in range(len(names)) if names[i:] in known), whole)

    moments = jax.tree.map_with_path(of_leaf, shapes.opt_state)
    return TrainState(params, moments, whole)


def _names(path) -> tuple[str, ...]:
    """The keys of dictionaries on the way to a leaf."""
    return tuple(step.key for step in path if isinstance(step, jax.tree_util.DictKey))


def of_batch(batch: UpdateBatch, mesh: Mesh) -> UpdateBatch:
    """The sharding of every array of a batch, or of a share of it: rows and groups are dealt, as
    many to each device, each row whole."""

    def dealt(_, names: tuple) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*(UPDATE.get(name) for name in names)))

    return jax.tree.map(dealt, batch, losses.axes_of(batch))
