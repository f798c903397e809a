"""Rollouts of the tiny model that really looks, made once and read by several tests."""

import functools

import jax
import numpy as np

from r3jax.records import Episode, Group
from r3jax.rollout import engine
from r3jax.update import losses
from tests import tiny

SEED, STEP = 3, 7


@functools.cache
def shared_engine() -> engine.Engine:
    """Four questions at a time, three episodes each, temperature 1."""
    return tiny.make_engine()


@functools.cache
def groups() -> tuple[Group, ...]:
    """Six questions in two batches, the second with two rows of padding."""
    eng = shared_engine()
    policy = eng.policy(tiny.looking_params())
    return tuple(engine.collect(eng, policy, tiny.questions(), SEED, STEP))


@functools.cache
def _scorer():
    return jax.jit(functools.partial(losses.score, tiny.model(), losses.ForwardConfig()))


def rescore(prompts, episodes, shapes=tiny.BUCKETS) -> np.ndarray:
    """Log-probs of episodes [B][G] by the update's forward pass, [B, G, T]."""
    batch = tiny.pack(prompts, episodes, shapes=shapes)
    return np.asarray(_scorer()(tiny.looking_params(), batch, tiny.allowed()).logp)


def assert_same_episode(found: Episode, expected: Episode) -> None:
    """Tokens, sources, positions, outcomes and stop equal, log-probs within rounding."""
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.source.tolist() == expected.source.tolist()
    assert found.positions.tolist() == expected.positions.tolist()
    assert [look.outcome for look in found.looks] == [look.outcome for look in expected.looks]
    assert (found.stop, found.text) == (expected.stop, expected.text)
    np.testing.assert_allclose(found.logp, expected.logp, atol=1e-4)
