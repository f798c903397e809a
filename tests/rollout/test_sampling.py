"""Sampling: what may be chosen, how often, and the log-prob that is stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r3jax.rollout import sampling

V = 12
ALLOWED = np.arange(V) != 3
LOGITS = np.random.default_rng(0).normal(0, 1.5, V).astype(np.float32)
LOGITS[3] = 9.0  # the likeliest is not allowed


@pytest.fixture(params=[5, 128], ids=["three blocks", "one block"], autouse=True)
def block(request, monkeypatch):
    """How many tokens are drawn together: no distribution may depend on it."""
    monkeypatch.setattr(sampling, "BLOCK", request.param)


def draw(config: sampling.SamplingConfig, count: int, seed: int = 0):
    """`count` independent draws from LOGITS: tokens and log-probs."""
    keys = jax.random.split(jax.random.key(seed), count)
    logits = jnp.broadcast_to(LOGITS, (count, V))
    token, logp = sampling.sample(logits, jnp.asarray(ALLOWED), keys, config)
    return np.asarray(token), np.asarray(logp)


def full_distribution(temperature: float) -> np.ndarray:
    weights = np.where(ALLOWED, np.exp(LOGITS.astype(np.float64) / temperature), 0)
    return weights / weights.sum()


def test_greedy_takes_the_likeliest_allowed_token_at_its_plain_log_prob():
    token, logp = draw(sampling.SamplingConfig(temperature=0.0), 3)
    best = int(np.argmax(np.where(ALLOWED, LOGITS, -np.inf)))
    assert token.tolist() == [best] * 3
    np.testing.assert_allclose(logp, np.log(full_distribution(1.0)[best]), rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 0.6}, {"top_k": 6, "top_p": 0.7}])
def test_draws_follow_the_narrowed_distribution_and_store_the_full_one(options):
    temperature, count = 0.8, 6000
    token, logp = draw(sampling.SamplingConfig(temperature, **options), count)
    full = full_distribution(temperature)
    np.testing.assert_allclose(logp, np.log(full[token]), rtol=1e-4, atol=1e-5)
    order = np.argsort(-full)[: options.get("top_k") or V]
    kept = full[order] / full[order].sum()
    before = np.cumsum(kept) - kept
    support = order[(before < options.get("top_p", 1.0)) & (kept > 0)]
    assert set(token) == set(support.tolist())
    expected = full[support] / full[support].sum() * count
    observed = np.bincount(token, minlength=V)[support]
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 4 * len(support)


def test_top_k_1_and_a_tiny_top_p_are_greedy():
    greedy = draw(sampling.SamplingConfig(temperature=0.0), 20)[0]
    for options in ({"top_k": 1}, {"top_p": 1e-6}):
        assert (draw(sampling.SamplingConfig(**options), 20)[0] == greedy).all()


def test_rows_depend_on_their_own_key_only():
    keys = jax.random.split(jax.random.key(1), 5)
    logits = jnp.broadcast_to(LOGITS, (5, V))
    config, allowed = sampling.SamplingConfig(), jnp.asarray(ALLOWED)
    together = sampling.sample(logits, allowed, keys, config)[0]
    alone = [sampling.sample(logits[:1], allowed, keys[i : i + 1], config)[0] for i in range(5)]
    assert together.tolist() == [int(token[0]) for token in alone]


def test_keys_are_of_seed_step_question_and_episode_and_of_nothing_else():
    def data(*args, episodes=3):
        numbers = np.array(args[2], np.int32)
        return np.asarray(jax.random.key_data(sampling.row_keys(*args[:2], numbers, episodes)))

    base = data(7, 1, [10, 11, 12])
    assert len(np.unique(base.reshape(9, -1), axis=0)) == 9
    np.testing.assert_array_equal(data(7, 1, [12, 10], episodes=2), base[[2, 0], :2])
    for other in (data(8, 1, [10, 11, 12]), data(7, 2, [10, 11, 12])):
        assert not (other == base).all(-1).any()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("temperature", -0.1, "temperature must be at least 0, found -0.1"),
        ("top_k", -1, "top_k must be at least 0, found -1"),
        ("top_p", 0.0, r"top_p must be in \(0, 1\], found 0.0"),
    ],
)
def test_impossible_settings_are_named(field, value, words):
    with pytest.raises(ValueError, match=words):
        sampling.SamplingConfig(**{field: value})
