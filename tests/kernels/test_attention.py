"""Attention block by block over several sets of keys is attention over all of them at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.kernels import attention, attention_xla


def plain(q, k, v, mask):
    """Attention of one sequence the long way, in float64: q [T,N,H], k, v [S,K,H], mask [T,S]."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    shared = q.shape[1] // k.shape[1]
    out = np.zeros_like(q)
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // shared].T / np.sqrt(q.shape[-1])
        weights = np.where(mask, np.exp(scores - scores.max(initial=0)), 0.0)
        out[:, head] = weights / weights.sum(-1, keepdims=True) @ v[:, head // shared]
    return out


def draw(seed, *shape):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def heads_first(x):
    """[B, ..., tokens, heads, H] as keys and values are given: heads after B."""
    return jnp.moveaxis(x, -2, 1)


@pytest.fixture(params=[2, 128], ids=["blocks of 2", "one block"], autouse=True, scope="module")
def block(request):
    """How many queries have scores at the same time: nothing may depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_xla, "BLOCK", request.param)
        jax.clear_caches()
        yield


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
    valid = rng.rand(B, G, T) < seen
    mask = np.tril(np.ones((T, T), bool)) & valid[:, :, None]
    past = attention.Past(heads_first(prefix[0]), heads_first(prefix[1]), prefix[2])
    found = attend_group(q, heads_first(k), heads_first(v), valid, (past,) if P else ())
    assert np.isfinite(found).all()
    for b, g in np.ndindex(B, G):
        real = valid[b, g]  # what a padded token gives has no meaning
        expected = plain(
            q[b, g][real],
            np.concatenate([prefix[0][b], k[b, g]]),
            np.concatenate([prefix[1][b], v[b, g]]),
            np.concatenate([np.broadcast_to(prefix[2][b], (T, P)), mask[b, g]], axis=1)[real],
        )
        np.testing.assert_allclose(found[b, g][real], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("few", [0, 8])
def test_attention_to_pasts_alone_is_attention_to_what_their_masks_show(few, monkeypatch):
    monkeypatch.setattr(attention_xla, "FEW", few)  # by matrix products, and without
    B, G, T, S, P, K, N = 2, 3, 1, 6, 5, 2, 4
    q = draw(0, B, G, T, N, H)
    own = draw(1, B, G, S, K, H), draw(2, B, G, S, K, H), np.arange(S) < draw(3, B, G, 1) * S + 2
    prefix = draw(4, B, P, K, H), draw(5, B, P, K, H), draw(6, B, P) > 0
    pasts = [attention.Past(heads_first(k), heads_first(v), mask) for k, v, mask in (own, prefix)]
    found = attention.attend_past(q, pasts)
    for b, g in np.ndindex(B, G):
        k, v = (np.concatenate([mine[b, g], shared[b]]) for mine, shared in zip(own, prefix[:2]))
        seen = np.concatenate([own[2][b, g], prefix[2][b]])
        expected = plain(q[b, g], k, v, np.broadcast_to(seen, (T, S + P)))
        np.testing.assert_allclose(found[b, g], expected, rtol=1e-5, atol=1e-5)


def test_keys_in_a_cache_count_as_keys_among_the_new_tokens():
    B, G, T, S, N, K = 2, 3, 2, 6, 4, 2
    q = draw(0, B, G, T, N, H)
    k, v = draw(1, B, K, G, S + T, H), draw(2, B, K, G, S + T, H)
    filled = np.arange(S) < np.array([[0, 1, 6], [3, 2, 5]])[..., None]
    cache = attention.Past(k[..., :S, :], v[..., :S, :], filled)
    found = attend_group(q, k[..., S:, :], v[..., S:, :], None, (cache,))
    for b, g in np.ndindex(B, G):
        keys, values = (y[b, :, g].swapaxes(0, 1) for y in (k, v))
        seen = np.concatenate([np.tile(filled[b, g], (T, 1)), np.tril(np.ones((T, T), bool))], 1)
        expected = plain(q[b, g], keys, values, seen)
        np.testing.assert_allclose(found[b, g], expected, rtol=1e-5, atol=1e-5)


def simply(q, k, v, mask, prefix=None):
    """The same attention in one line each, for autodiff: k, v [B, K, G, T, H], mask [B, G, T, S],
    prefix (k, v) [B, K, P, H], whose keys come first in the mask."""
    if prefix is not None:
        wide = [jnp.repeat(y[:, :, None], q.shape[1], 2) for y in prefix]
        k, v = (jnp.concatenate([w, y], 3) for w, y in zip(wide, (k, v)))
    k, v = (jnp.repeat(y, q.shape[3] // k.shape[1], 1) for y in (k, v))
    scores = jnp.einsum("bgtnh,bngsh->bgnts", q, k) / np.sqrt(q.shape[-1])
    weights = jax.nn.softmax(jnp.where(mask[:, :, None], scores, -1e30))
    return jnp.einsum("bgnts,bngsh->bgtnh", weights, v)


def assert_same_gradients(ours, simple, arguments):
    argnums = range(len(arguments))
    pairs = zip(*(jax.jit(jax.grad(f, argnums=argnums))(*arguments) for f in (ours, simple)))
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_gradients_over_prefix_and_suffix_are_those_of_autodiff():
    B, G, T, P, N, K = 1, 2, 5, 3, 4, 2
    q, k, v = draw(0, B, G, T, N, H), draw(1, B, K, G, T, H), draw(2, B, K, G, T, H)
    pk, pv, cotangent = draw(3, B, K, P, H), draw(4, B, K, P, H), draw(5, B, G, T, N, H)
    prefix_mask = np.array([[True, False, True]])
    valid = np.arange(T) < np.array([[[5], [3]]])
    cotangent = cotangent * valid[..., None, None]
    seen = np.broadcast_to(prefix_mask[:, None, None], (B, G, T, P))
    mask = np.concatenate([seen, np.tril(np.ones((T, T), bool)) & valid[:, :, None]], axis=-1)

    def ours(q, k, v, pk, pv):
        past = attention.Past(pk, pv, prefix_mask)
        return (attention.attend_group(q, k, v, valid, (past,)) * cotangent).sum()

    def simple(q, k, v, pk, pv):
        return (simply(q, k, v, mask, (pk, pv)) * cotangent).sum()

    assert_same_gradients(ours, simple, (q, k, v, pk, pv))


def test_gradients_within_segments_are_those_of_autodiff():
    segment = np.array([[1, 1, 2, 2, 2, 0, 0], [1, 2, 3, 4, 4, 4, 4]], np.int32)
    q, k, v, cotangent = (draw(seed, 2, 7, 3, H) for seed in range(4))
    cotangent = cotangent * (segment > 0)[..., None, None]
    mask = (segment[:, :, None] == segment[:, None]) & (segment[:, None] > 0)

    def ours(q, k, v):
        return (attention.attend_segments(q, k, v, segment) * cotangent).sum()

    def simple(q, k, v):
        k, v = (jnp.moveaxis(y, 2, 1)[:, :, None] for y in (k, v))
        return (simply(q[:, None], k, v, mask[:, None])[:, 0] * cotangent).sum()

    assert_same_gradients(ours, simple, (q, k, v))


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
