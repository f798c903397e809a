"""Attention in two parts is attention over all keys; joining parts does not depend on the order."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.kernels import attention


def plain(q, k, v, mask):
    """Attention of one sequence the long way, in float64: q [T,N,H], k, v [S,K,H], mask [T,S]."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    shared = q.shape[1] // k.shape[1]
    out = np.zeros_like(q)
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // shared].T / np.sqrt(q.shape[-1])
        weights = np.where(mask, np.exp(scores - scores.max()), 0.0)
        out[:, head] = weights / weights.sum(-1, keepdims=True) @ v[:, head // shared]
    return out


def draw(seed, *shape):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def heads_first(x):
    """[..., tokens, heads, H] as keys and values are given."""
    return jnp.swapaxes(x, -3, -2)


# B, G, T, P, K, N: every size differs from the others, so that no two axes can be confused.
SHAPES = [(2, 3, 5, 7, 2, 4), (1, 1, 1, 4, 1, 3), (3, 1, 2, 1, 3, 3), (2, 2, 3, 0, 1, 2)]
H = 4
attend_group = jax.jit(attention.attend_group)
attend_segments = jax.jit(attention.attend_segments)


@given(st.sampled_from(SHAPES), st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=60)
def test_attention_over_prefix_and_suffix_is_attention_over_both(shape, seen, seed):
    B, G, T, P, K, N = shape
    rng = np.random.RandomState(seed)
    q, k, v = (
        draw(seed, B, G, T, N, H),
        draw(seed + 1, B, G, T, K, H),
        draw(seed + 2, B, G, T, K, H),
    )
    prefix = draw(seed + 3, B, P, K, H), draw(seed + 4, B, P, K, H), rng.rand(B, P) < seen
    mask = np.broadcast_to(np.tril(np.ones((T, T), bool)), (B, G, T, T))
    mask = mask & ((rng.rand(B, G, 1, T) < seen) | np.eye(T, dtype=bool))  # each sees itself
    past = attention.Past(heads_first(prefix[0]), heads_first(prefix[1]), prefix[2])
    found = attend_group(q, heads_first(k), heads_first(v), mask, past if P else None)
    for b, g in np.ndindex(B, G):
        expected = plain(
            q[b, g],
            np.concatenate([prefix[0][b], k[b, g]]),
            np.concatenate([prefix[1][b], v[b, g]]),
            np.concatenate([np.broadcast_to(prefix[2][b], (T, P)), mask[b, g]], axis=1),
        )
        np.testing.assert_allclose(found[b, g], expected, rtol=1e-5, atol=1e-5)


def test_keys_in_a_cache_count_as_keys_among_the_new_tokens():
    B, G, T, S, N, K = 2, 3, 2, 6, 4, 2
    q = draw(0, B, G, T, N, H)
    k, v = draw(1, B, G, K, S + T, H), draw(2, B, G, K, S + T, H)
    filled = np.arange(S) < np.array([[0, 1, 6], [3, 2, 5]])[..., None]
    causal = np.broadcast_to(np.tril(np.ones((T, T), bool)), (B, G, T, T))
    cache = attention.Past(k[..., :S, :], v[..., :S, :], filled)
    found = attend_group(q, k[..., S:, :], v[..., S:, :], causal, None, cache)
    seen = np.concatenate([np.broadcast_to(filled[:, :, None], (B, G, T, S)), causal], axis=-1)
    np.testing.assert_allclose(found, attend_group(q, k, v, seen), rtol=1e-5, atol=1e-6)


def test_gradients_through_two_parts_equal_those_through_one():
    B, G, T, P, N, K = 1, 2, 3, 5, 4, 2
    q, k, v = draw(0, B, G, T, N, H), draw(1, B, G, T, K, H), draw(2, B, G, T, K, H)
    pk, pv, cotangent = draw(3, B, P, K, H), draw(4, B, P, K, H), draw(5, B, G, T, N, H)
    prefix_mask = np.array([[True, True, False, True, True]])
    mask = np.broadcast_to(np.tril(np.ones((T, T), bool)), (B, G, T, T))

    def two_parts(q, k, v, pk, pv):
        past = attention.Past(heads_first(pk), heads_first(pv), prefix_mask)
        found = attention.attend_group(q, heads_first(k), heads_first(v), mask, past)
        return (found * cotangent).sum()

    def one_part(q, k, v, pk, pv):
        def all_keys(prefix, own):
            shared = jnp.broadcast_to(prefix[:, None], (B, G, *prefix.shape[1:]))
            return heads_first(jnp.concatenate([shared, own], axis=2))

        seen = np.broadcast_to(prefix_mask[:, None, None], (B, G, T, P))
        both = np.concatenate([seen, mask], axis=-1)
        return (attention.attend_group(q, all_keys(pk, k), all_keys(pv, v), both) * cotangent).sum()

    arguments = (q, k, v, pk, pv)
    pairs = zip(
        *(jax.jit(jax.grad(f, argnums=range(5)))(*arguments) for f in (two_parts, one_part))
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_join_is_associative_and_commutative():
    def part(seed, height):
        maximum = draw(seed, 6) + height
        return attention.Partial(draw(seed + 1, 6, 3), maximum, np.exp(draw(seed + 2, 6)))

    # the second is so low that it adds nothing, the third holds no key at all
    parts = part(0, 0.0), part(3, -200.0), part(6, 1.0)
    empty = attention.Partial(np.zeros((6, 3)), np.full(6, attention.MASKED), np.ones(6))
    join = attention.join
    a, b, c = parts
    outs = [
        join(join(a, b), c),
        join(a, join(b, c)),
        join(c, join(b, a)),
        join(join(a, empty), join(b, c)),
    ]
    values = [np.asarray(out.values / out.total[:, None]) for out in outs]
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], rtol=1e-5)


@given(st.sampled_from([1, 9]), st.integers(0, 10**6))
@settings(max_examples=40)
def test_segments_do_not_see_each_other(length, seed):
    segment = np.random.RandomState(seed).randint(0, 4, (1, length)).astype(np.int32)
    q, k, v = (draw(seed + i, 1, length, 2, 4) for i in range(3))
    found = np.asarray(attend_segments(q, k, v, segment))[0]
    real = segment[0] > 0
    same = segment[0][:, None] == segment[0][None, real]
    if real.any():
        expected = plain(q[0, real], k[0, real], v[0, real], same[real])
        np.testing.assert_allclose(found[real], expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(found).all()
