"""Rollouts on a mesh: groups are dealt to parts, and no part's images or rows leak into another."""

import dataclasses

import jax
import numpy as np
import pytest

from r3jax import buckets
from r3jax import mesh as mesh_lib
from r3jax.compiles import CompileCounter
from r3jax.records import LookOutcome
from r3jax.rollout import crops, engine, sampling
from r3jax.run import warm
from tests import tiny
from tests.rollout import rolled

TWO_PARTS = mesh_lib.MeshConfig(data=2, tensor=2)


def make_engine(size: int = 4, exchange: int | None = 2, mesh=None) -> engine.Engine:
    """Two groups a part at a time, one of each part coming in with one of the other; one or two
    looks of a part are served at once, cut where the images are."""
    few = (buckets.ImageBucket(1, 1, 36), buckets.ImageBucket(2, 1, 36))
    shapes = dataclasses.replace(tiny.BUCKETS, crops=few, originals=(336, 336))
    how = engine.RolloutConfig(size, 3, sampling.SamplingConfig(), exchange, patience=1)
    made = engine.make_engine(tiny.model(), tiny.tk(), tiny.FORM, shapes, how, True, mesh)
    return dataclasses.replace(made, way=crops.Way.XLA)


def ask(eng: engine.Engine, params) -> list:
    return engine.collect(eng, eng.policy(params), tiny.questions(), rolled.SEED, rolled.STEP)


@pytest.mark.slow
def test_groups_that_come_and_go_in_parts_have_the_episodes_of_one_device():
    devices = mesh_lib.make_mesh(TWO_PARTS, jax.devices()[:4])
    eng = make_engine(mesh=mesh_lib.for_rollouts(devices))
    assert eng.programs.parts == 2
    whole = mesh_lib.sharding((), (), devices, mesh_lib.DECODE)
    params = jax.device_put(tiny.looking_params(), whole)
    policy = warm.compile_for("reshard", eng.programs.policy, params)
    warm.rollout_programs(eng, policy, warm.compile_for)
    with CompileCounter() as compiles:
        found = ask(eng, params)
    assert compiles.count == 0
    alone = ask(make_engine(), tiny.looking_params())
    for group, expected, other_batch in zip(found, alone, rolled.groups(), strict=True):
        np.testing.assert_allclose(group.prompt.features, expected.prompt.features, atol=1e-4)
        for episode, other, kept in zip(group.episodes, expected.episodes, other_batch.episodes):
            rolled.assert_same_episode(episode, other)
            rolled.assert_same_episode(episode, kept)
            for look, same in zip(episode.looks, other.looks, strict=True):
                if look.outcome is LookOutcome.OK:
                    np.testing.assert_allclose(look.features, same.features, atol=1e-4)
    assert any(
        look.outcome is LookOutcome.OK for g in found for e in g.episodes for look in e.looks
    )


def test_groups_that_cannot_be_dealt_are_refused():
    devices = mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=8), jax.devices())
    with pytest.raises(ValueError, match=r"rollout\.tensor is 3, but the mesh has 8 devices"):
        mesh_lib.for_rollouts(devices, 3)
    where = mesh_lib.for_rollouts(devices, 2)
    with pytest.raises(
        ValueError, match=r"rollout.questions is 6, but rollouts deal .* to 4 parts"
    ):
        make_engine(6, None, where)
    with pytest.raises(ValueError, match=r"rollout\.exchange is 2, but"):
        make_engine(8, 2, where)
