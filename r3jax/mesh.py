"""Devices as a mesh, and over which of its axes every axis of an array is split.

Code names the axes of its arrays ("groups", "heads"); what a name means on a mesh stands here
alone. An axis whose size its part of the mesh does not divide stays whole.

>>> mesh = make_mesh(MeshConfig())
>>> tuple(split(("groups", None, "heads"), (4, 7, 2), mesh, UPDATE))
(('data', 'fsdp'), None, 'tensor')
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from r3jax.arrays import Array

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")
"""The axes that groups are dealt over."""

Rules = Mapping[str, tuple[str, ...]]
"""Over which axes of the mesh a named axis is split; those that are not named are whole."""

_BATCHES: Rules = {"groups": BATCH, "rows": BATCH}
_TENSORS: Rules = {
    name: ("tensor",)
    for name in ("heads", "kv_heads", "mlp", "vocab", "vision_heads", "vision_mlp")
}
UPDATE: Rules = {
    **_BATCHES,
    **_TENSORS,
    **{name: ("fsdp",) for name in ("embed", "vision_embed", "merged")},
}
"""Where parameters, moments and gradients live: split over fsdp too, gathered layer by layer."""

DECODE: Rules = {**_BATCHES, **_TENSORS}
"""Where decoding has its parameters: whole on every shard of the batch but for `tensor`, since a
token has no time to gather them."""

SCORE: Rules = {"rows": ("data",), "vocab": ("fsdp", "tensor")}
"""Where logits are made: each device has the vocabulary's part of many rows' tokens. Theirs are far
fewer numbers to exchange than those of the head."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices there are along each axis; one of them may be -1: all that are left.

    Raises: ValueError for other numbers.
    """

    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        sizes = self.sizes
        if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(
                f"mesh: expected sizes from 1 on, one of them -1 at most, found {sizes} for {AXES}"
            )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes in the order of AXES."""
        return self.data, self.fsdp, self.tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of `devices`, by default one: the first of this process.

    Those of a process stand side by side, so that the axes that come last do not leave it.
    Raises: ValueError where their number is another than the config's.
    """
    devices = jax.local_devices()[:1] if devices is None else devices
    devices = sorted(devices, key=lambda device: (device.process_index, device.id))
    given = math.prod(size for size in config.sizes if size != -1)
    sizes = tuple(len(devices) // given if size == -1 else size for size in config.sizes)
    if math.prod(sizes) != len(devices):
        raise ValueError(
            f"mesh: {dict(zip(AXES, config.sizes))} does not make {len(devices)} devices: choose "
            "sizes whose product is that number, or -1 for one of them"
        )
    return Mesh(np.array(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def mesh_of(config: MeshConfig) -> Mesh | None:
    """The mesh of all devices, of all hosts, that a run's config asks for; None for one device.

    Raises: ValueError where one device is asked for and there are several hosts.
    """
    if config.sizes != (1, 1, 1):
        return make_mesh(config, jax.devices())
    if jax.process_count() > 1:
        raise ValueError(
            f"mesh: {jax.process_count()} hosts cannot train on one device: mesh.fsdp = -1 takes "
            f"all {jax.device_count()}"
        )
    return None


def unused(mesh: Mesh | None) -> str | None:
    """What to tell of a run that leaves devices idle; `mesh` None is a run on one."""
    if mesh is not None or jax.device_count() == 1:
        return None
    return f"computing on 1 of {jax.device_count()} devices: mesh.fsdp = -1 in the config takes all"


def for_rollouts(mesh: Mesh | None, tensor: int | None = None) -> Mesh | None:
    """The devices of a mesh as rollouts have them: heads are split over `tensor` neighbours (None:
    as many as in the mesh), groups are dealt to the rest.

    Raises: ValueError where `tensor` does not divide the number of devices.
    """
    if mesh is None and tensor in (None, 1):
        return None
    size = 1 if mesh is None else mesh.size
    tensor = tensor or mesh.shape["tensor"]
    if size % tensor:
        raise ValueError(
            f"rollout.tensor is {tensor}, but the mesh has {size} devices: choose a divisor"
        )
    return make_mesh(MeshConfig(data=-1, tensor=tensor), mesh.devices.ravel())


def shards(mesh: Mesh, axes: Sequence[str] = BATCH) -> int:
    """Into how many parts these axes of a mesh split something."""
    return math.prod(mesh.shape[axis] for axis in axes)


def split(
    axes: Sequence[str | None], shape: Sequence[int], mesh: Mesh, rules: Rules
) -> PartitionSpec:
    """How an array of this shape, whose axes have these names, is split.

    >>> tuple(split(("vocab", "embed"), (10, 6), make_mesh(MeshConfig()), DECODE))
    ('tensor', None)
    """
    parts = []
    for name, size in zip(axes, shape, strict=True):
        over = tuple(rules.get(name, ()))
        whole = not over or size % shards(mesh, over)
        parts.append(None if whole else over[0] if len(over) == 1 else over)
    return PartitionSpec(*parts)


def sharding(
    axes: Sequence[str | None], shape: Sequence[int], mesh: Mesh, rules: Rules
) -> NamedSharding:
    """The sharding of an array of this shape, whose axes have these names; whole without axes."""
    return NamedSharding(mesh, split(axes, shape, mesh, rules))


def shardings(axes, shapes, mesh: Mesh, rules: Rules):
    """Shardings of a tree of arrays or shapes, whose axes are named in an equal tree of tuples."""
    return jax.tree.map(lambda x, names: sharding(tuple(names), x.shape, mesh, rules), shapes, axes)


def lying(shapes, places):
    """Shapes of a tree of arrays, or of shapes, which lie as an equal tree of shardings says."""
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, places
    )


def scoring(vocabulary: int) -> Rules:
    """The rules by which logits are made on the mesh that a function is `on`: those of decoding,
    head and all, where it does not divide the vocabulary."""
    mesh = jax.sharding.get_abstract_mesh()
    fits = mesh.empty or vocabulary % shards(mesh, SCORE["vocab"]) == 0
    return SCORE if fits else DECODE


def on(mesh: Mesh | None, function: Callable) -> Callable:
    """The function, to be jitted for a mesh, which `constrain` within it means. None: no mesh."""
    if mesh is None:
        return function

    @functools.wraps(function)
    def traced(*args, **kwargs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args, **kwargs)

    return traced


def constrain(array: Array, *axes: str | None, rules: Rules = DECODE) -> Array:
    """Within a jitted function: the array, split as its axes' names say on the mesh it is `on`.

    What is computed is split as for decoding in the update too, but for logits: fsdp deals groups
    there. Without a mesh the array is left alone.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return array
    return jax.lax.with_sharding_constraint(array, split(axes, array.shape, mesh, rules))
