"""Which share of a batch a host makes, and how the shares of all become arrays of all devices.

A mesh deals groups and rows to devices in order, and devices stand in the order of their hosts; so
a host's devices have a block of them. Hosts whose devices have parts of the same block, since heads
are split over more devices than one has, make the same share of it, each for itself.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from r3jax import hosts
from r3jax import mesh as mesh_lib
from r3jax.mesh import BATCH


class Share(NamedTuple):
    """The block `number` of `count` equal blocks of whatever is dealt to devices."""

    number: int = 0
    count: int = 1

    def of(self, total: int) -> range:
        """Which of so many things are this share's. Raises: ValueError where they do not divide.

        >>> Share(1, 4).of(8)
        range(2, 4)
        """
        size, rest = divmod(total, self.count)
        if rest:
            raise ValueError(f"{total} cannot be dealt to {self.count} shares evenly")
        return range(self.number * size, (self.number + 1) * size)

    def one_of_each(self, values: Sequence[Any]) -> Sequence[Any]:
        """Of values of all hosts, in order, that of one host of each share.

        >>> Share(0, 2).one_of_each(["a", "a", "b", "b"])
        ['a', 'b']
        """
        return values[:: len(values) // self.count] if len(values) > self.count else values


ALL = Share()


def of_host(*meshes: Mesh | None) -> Share:
    """This host's share of what these meshes of the same devices deal.

    Raises: RuntimeError where there are other hosts, and they have not joined.
    """
    number = jax.process_count()
    if number > 1 and not hosts.several():
        raise RuntimeError(f"{number} processes: join them by r3jax.run.cluster.joined first")
    count = math.gcd(number, *(1 if mesh is None else mesh_lib.shards(mesh) for mesh in meshes))
    return Share(jax.process_index() * count // number, count)


def holds_its_parts(mesh: Mesh | None, share: Share) -> bool:
    """Whether all that is dealt to a host's share lies on its own devices."""
    if mesh is None:
        return True
    parts = mesh.devices.reshape(mesh_lib.shards(mesh), -1)
    here = [any(device.process_index == jax.process_index() for device in part) for part in parts]
    return sum(here) == len(parts) // share.count


def deal(blocks: Any, places: Any, share: Share = ALL) -> Any:
    """Arrays of all devices, of this host's share of each: they lie as an equal tree of shardings
    says, or one for all. None: they stay as they are.

    An array that is not dealt is the same on every host, and with the share `ALL` a host gives
    whole arrays, of which its devices' part is right.
    """
    if places is None:
        return blocks
    if isinstance(places, NamedSharding):
        return jax.tree.map(lambda block: _deal(block, places, share), blocks)
    return jax.tree.map(lambda block, where: _deal(block, where, share), blocks, places)


def _deal(block: np.ndarray | jax.Array, where: NamedSharding, share: Share) -> jax.Array:
    if where.is_fully_addressable or getattr(block, "sharding", None) == where:
        return jax.device_put(block, where)
    axis = next((n for n, over in enumerate(where.spec) if over == BATCH), None)
    shape, first = list(block.shape), 0
    if axis is not None:
        first = share.number * shape[axis]
        shape[axis] *= share.count

    def of_device(index: tuple[slice, ...]) -> np.ndarray:
        index = list(index)
        if axis is not None:
            start, stop, _ = index[axis].indices(shape[axis])
            index[axis] = slice(start - first, stop - first)
        return block[tuple(index)]

    return jax.make_array_from_callback(tuple(shape), where, of_device)


def whole(array: jax.Array | np.ndarray) -> np.ndarray:
    """All of an array, on every host: where it lies on several, all call this."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


def own(array: jax.Array) -> np.ndarray:
    """The rows, of an array dealt by its first axis, that lie on this host's devices, in order."""
    rows = {piece.index[0].start or 0: piece.data for piece in array.addressable_shards}
    found = [np.asarray(rows[first]) for first in sorted(rows)]
    return found[0] if len(found) == 1 else np.concatenate(found)
