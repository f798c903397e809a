"""Objectives: cases worked out by hand, and the properties that hold for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.update import objective

ALL = np.ones((1, 1, 3), bool)


def tokens(*values) -> jnp.ndarray:
    """Values of one episode, [1, 1, T]."""
    return jnp.array([[values]], jnp.float32)


def test_advantage_is_distance_from_the_mean_in_standard_deviations():
    reward = np.array([[1.0, 0.0, 0.0, 1.0], [2.0, 2.0, 2.0, 6.0]])
    found = objective.group_advantages(reward, np.ones((2, 4), bool))
    spread = np.sqrt(3.0)
    expected = [
        np.array([1, -1, -1, 1]) * 0.5 / 0.5001,
        np.array([-1, -1, -1, 3]) / (spread + 1e-4),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    plain = objective.group_advantages(reward, np.ones((2, 4), bool), scale_by_std=False)
    np.testing.assert_allclose(plain[1], [-1, -1, -1, 3])


def test_uncounted_episodes_leave_mean_and_standard_deviation():
    counted = np.array([[True, False, True, True, False]])
    reward = np.array([[1.0, np.nan, 0.0, 0.5, 1e6]])
    found = objective.group_advantages(reward, counted)
    alone = objective.group_advantages(reward[:, counted[0]], np.ones((1, 3), bool))
    np.testing.assert_array_equal(found[counted], alone[0])
    assert (found[~counted] == 0).all()


@given(st.floats(-10, 10, width=32), st.lists(st.booleans(), min_size=1, max_size=6))
def test_equal_rewards_give_no_advantage(reward, counted):
    counted = np.array([counted])
    found = objective.group_advantages(np.full(counted.shape, reward, np.float32), counted)
    np.testing.assert_allclose(found, 0, atol=1e-9)


def test_the_clipped_loss_is_the_pessimistic_one_for_both_signs():
    ratio = tokens(0.5, 1.1, 1.5)
    rise = objective.clipped_loss(ratio, jnp.array([[2.0]]), 0.2, 0.28)
    np.testing.assert_allclose(rise[0, 0], [-1.0, -2.2, -2.56], rtol=1e-6)
    fall = objective.clipped_loss(ratio, jnp.array([[-2.0]]), 0.2, 0.28)
    np.testing.assert_allclose(fall[0, 0], [1.6, 2.2, 3.0], rtol=1e-6)

    def slope(advantage):
        loss = lambda r: objective.clipped_loss(r, jnp.array([[advantage]]), 0.2, 0.28).sum()  # noqa: E731
        return np.asarray(jax.grad(loss)(ratio))[0, 0].tolist()

    assert slope(2.0) == [-2.0, -2.0, 0.0]  # clipped above: no reason to go further
    assert slope(-2.0) == [0.0, 2.0, 2.0]


@given(st.lists(st.tuples(st.floats(-8, 0), st.floats(-8, 0)), min_size=1, max_size=5))
def test_k3_is_the_formula_never_negative_and_zero_at_equality(pairs):
    policy, reference = (tokens(*side) for side in zip(*pairs))
    found = objective.k3(policy, reference, np.ones(policy.shape, bool))
    d = np.float64(reference) - np.float64(policy)
    np.testing.assert_allclose(found, np.exp(d) - d - 1, rtol=1e-4, atol=1e-5)
    assert (found >= -1e-6).all()
    assert (objective.k3(policy, policy, np.ones(policy.shape, bool)) == 0).all()


def test_masked_tokens_have_ratio_1_and_no_divergence_whatever_they_hold():
    mask = np.array([[[True, False, False]]])
    new, old = tokens(-1.0, 500.0, -jnp.inf), tokens(-1.5, -500.0, 0.0)
    np.testing.assert_allclose(objective.token_ratio(new, old, mask)[0, 0], [np.exp(0.5), 1, 1])
    np.testing.assert_allclose(objective.sequence_ratio(new, old, mask)[0, 0, 0], np.exp(0.5))
    assert (objective.k3(new, old, mask)[0, 0, 1:] == 0).all()


def test_sequence_ratio_is_the_geometric_mean_and_each_token_keeps_its_gradient():
    mask = np.array([[[True, True, False]]])
    new, old = tokens(-1.0, -2.0, -9.0), tokens(-1.3, -2.1, -1.0)
    ratio = objective.sequence_ratio(new, old, mask)
    mean = np.exp((0.3 + 0.1) / 2)
    np.testing.assert_allclose(ratio[0, 0, :2], mean, rtol=1e-6)

    def mean_ratio(new):
        counted = np.ones((1, 1), bool)
        ratio = objective.sequence_ratio(new, old, mask)
        return objective.sequence_mean(ratio, mask, counted, objective.totals(mask))

    # d/dlogp_t of the geometric mean of T ratios is that mean over T: GSPO's gradient.
    np.testing.assert_allclose(jax.grad(mean_ratio)(new)[0, 0], [mean / 2, mean / 2, 0], rtol=1e-6)


def test_importance_weights_are_truncated_and_carry_no_gradient():
    new, sampled = tokens(-1.0, -1.0, -1.0), tokens(-1.2, -4.0, -0.5)
    weigh = lambda logp: objective.importance_weight(logp, sampled, ALL, 2.0)  # noqa: E731
    np.testing.assert_allclose(weigh(new)[0, 0], [np.exp(0.2), 2.0, np.exp(-0.5)], rtol=1e-6)
    assert (jax.grad(lambda logp: weigh(logp).sum())(new) == 0).all()


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (objective.sequence_mean, ((1 + 3) / 2 + 6) / 2),
        (objective.token_mean, (1 + 3 + 6) / 3),
    ],
)
def test_means_over_sequences_and_over_tokens(mean, expected):
    loss = jnp.array([[[1.0, 3.0, 99.0], [6.0, 99.0, 99.0], [jnp.inf, 1.0, 1.0]]])
    mask = np.array([[[True, True, False], [True, False, False], [True, True, True]]])
    counted = np.array([[True, True, False]])
    totals = objective.totals(mask & counted[..., None])
    np.testing.assert_allclose(mean(loss, mask, counted, totals), expected)
    assert mean(loss, mask, np.zeros((1, 3), bool), objective.totals()) == 0
