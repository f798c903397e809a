"""An update on a mesh of devices is the update on one."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from r3jax import buckets
from r3jax import mesh as mesh_lib
from r3jax.update import losses, placing, state, steps
from tests import tiny

GROUPS, EPISODES = 8, 2
BUCKETS = dataclasses.replace(
    tiny.BUCKETS, suffix_tokens=(128,), images=(buckets.ImageBucket(GROUPS, 1, 64),)
)
SHAPES = [(8, 1, 1), (2, 2, 2), (1, 4, 2)]


@functools.cache
def optimizer() -> state.Optimizer:
    # With a large eps a step is smooth: Adam's first makes 1 of every gradient, rounding included.
    return state.make_optimizer(state.OptimizerConfig(1e-2, eps=1e-2), tiny.params())


@functools.cache
def batch(rows: int) -> losses.UpdateBatch:
    """Eight groups of two episodes of different lengths, in so many rows."""
    traces = [(tiny.trace(i), tiny.bad_trace(i) if i % 3 else tiny.two_look_trace(i))
              for i in range(GROUPS)]  # fmt: skip
    made = [[tiny.teach(one) for one in pair] for pair in traces]
    advantage = np.random.default_rng(0).normal(size=(GROUPS, EPISODES))
    counted = np.ones((GROUPS, EPISODES), bool)
    counted[3, 1] = False
    prompts = [pair[0][0] for pair in made]
    episodes = [[episode for _, episode in pair] for pair in made]
    return tiny.pack(prompts, episodes, advantage, counted, BUCKETS, rows)


def step(config: losses.RgrpoConfig, train_vision: bool = False):
    forward = losses.ForwardConfig(logit_chunk=48, train_vision=train_vision)
    loss = functools.partial(losses.rgrpo_loss, tiny.model(), forward, config)
    return functools.partial(steps.step, loss, optimizer())


@functools.cache
def alone():
    """The step on one device: state, statistics, log-probs."""
    begun = state.init_state(tiny.params(), optimizer())
    return jax.jit(step(losses.RgrpoConfig()))(begun, batch(1), None, None, tiny.allowed())


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_a_step_on_a_mesh_is_the_step_on_one_device(sizes):
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(*sizes), jax.devices())
    rows = mesh_lib.shards(mesh)
    where = placing.of_state(tiny.model().config, optimizer(), mesh)
    begun = jax.device_put(state.init_state(tiny.params(), optimizer()), where)
    packed = batch(rows)
    given = jax.device_put(packed, placing.of_batch(packed, mesh))
    run = jax.jit(mesh_lib.on(mesh, step(losses.RgrpoConfig())), out_shardings=(where, None, None))
    after, stats, logp = run(begun, given, None, None, tiny.allowed())
    wanted, wanted_stats, wanted_logp = alone()
    for name, value in wanted_stats.items():
        np.testing.assert_allclose(stats[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    mask = batch(1).suffix.trained
    np.testing.assert_allclose(
        np.asarray(logp)[mask], np.asarray(wanted_logp)[mask], rtol=1e-5, atol=1e-5
    )
    compare(after.params, wanted.params)


def compare(found, wanted) -> None:
    """Updated weights agree to 1e-5 of the largest of each."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for one, other in pairs:
        scale = float(np.abs(other).max())
        np.testing.assert_allclose(one, other, atol=1e-5 * scale)
