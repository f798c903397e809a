"""What a mesh is made of, and how arrays are split over it."""

import doctest
import math

import jax
import pytest
from jax.sharding import PartitionSpec

from r3jax import mesh
from r3jax.model import qwen
from r3jax.model.config import SIZES
from r3jax.update import placing


def test_the_size_that_is_left_open_is_what_the_devices_give():
    devices = jax.devices()
    made = mesh.make_mesh(mesh.MeshConfig(data=2, fsdp=-1, tensor=2), devices)
    assert dict(made.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert mesh.shards(made) == 4
    assert math.prod(mesh.make_mesh(mesh.MeshConfig()).devices.shape) == 1


def test_a_mesh_that_devices_do_not_make_is_refused():
    with pytest.raises(ValueError, match=r"'fsdp': -1, 'tensor': 3} does not make 8 devices"):
        mesh.make_mesh(mesh.MeshConfig(fsdp=-1, tensor=3), jax.devices())
    with pytest.raises(ValueError, match=r"one of them -1 at most, found \(-1, -1, 1\)"):
        mesh.MeshConfig(data=-1, fsdp=-1)
    with pytest.raises(ValueError, match="expected sizes from 1 on"):
        mesh.MeshConfig(tensor=0)


def test_an_axis_that_cannot_be_divided_stays_whole():
    made = mesh.make_mesh(mesh.MeshConfig(1, 2, 4), jax.devices())
    names = ("embed", "kv_heads", "head")
    assert mesh.split(names, (6, 4, 5), made, mesh.UPDATE) == PartitionSpec("fsdp", "tensor", None)
    assert mesh.split(names, (7, 2, 5), made, mesh.UPDATE) == PartitionSpec(None, None, None)
    assert mesh.split(names, (6, 4, 5), made, mesh.DECODE) == PartitionSpec(None, "tensor", None)
    found = doctest.testmod(mesh)
    assert found.attempted and not found.failed


def test_logits_are_made_by_parts_of_the_vocabulary_where_the_mesh_divides_it():
    made = mesh.make_mesh(mesh.MeshConfig(2, 2, 2), jax.devices())
    with jax.sharding.use_abstract_mesh(made.abstract_mesh):
        assert mesh.scoring(512) is mesh.SCORE and mesh.scoring(510) is mesh.DECODE
    assert mesh.scoring(510) is mesh.SCORE  # without a mesh nothing is split


@pytest.mark.parametrize("size", SIZES)
def test_hardly_anything_of_a_released_model_is_kept_twice(size):
    made = mesh.make_mesh(mesh.MeshConfig(1, 4, 2), jax.devices())
    shapes = qwen.abstract_params(SIZES[size])
    where = placing.of_params(SIZES[size], made)
    pairs = zip(jax.tree.leaves(shapes), jax.tree.leaves(where), strict=True)
    held = sum(math.prod(sharding.shard_shape(leaf.shape)) for leaf, sharding in pairs)
    assert held * 8 < 1.01 * qwen.count_params(SIZES[size])
