"""Attention: over the segments of a row of patches, and over a shared prefix plus an own suffix.

Softmax is in float32 whatever the inputs are. A suffix token attends to the prefix of its group
(keys stored once for all G episodes), to what its episode has in its cache, and causally to the
tokens it came with; the parts are computed separately and joined by log-sum-exp, which is exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Bool, Float, Int

MASKED = -1e30  # finite, so that a row without any key gives numbers and not NaN


class Past(NamedTuple):
    """Keys and values computed before, heads first, and which of them are real.

    Of a group: [B, K, P, H], mask [B, P]; of its episodes: [B, G, K, S, H], mask [B, G, S].
    """

    k: Array
    v: Array
    mask: Array


class Partial(NamedTuple):
    """Attention over one part of the keys, not yet normalised: values [..., H], max and sum [...].

    The attention over the part alone is `values / total`.
    """

    values: Array
    maximum: Array
    total: Array


def _partial(scores: Array, mask: Array, weigh) -> Partial:
    """`scores` [..., T, S] in float32; `weigh` multiplies weights [..., T, S] with the values."""
    scores = jnp.where(mask, scores, MASKED)
    maximum = jax.lax.stop_gradient(scores.max(-1))
    weights = jnp.exp(scores - maximum[..., None])
    return Partial(weigh(weights), maximum, weights.sum(-1))


def join(first: Partial, second: Partial) -> Partial:
    """Joins attention over two sets of keys into attention over both (log-sum-exp)."""
    maximum = jnp.maximum(first.maximum, second.maximum)
    one, two = jnp.exp(first.maximum - maximum), jnp.exp(second.maximum - maximum)
    return Partial(
        first.values * one[..., None] + second.values * two[..., None],
        maximum,
        first.total * one + second.total * two,
    )


def attend_segments(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X T N H"],
    v: Float[Array, "X T N H"],
    segment: Int[Array, "X T"],
) -> Float[Array, "X T N H"]:
    """Attends within each segment of a row, both ways; segment 0 is padding and gives no signal."""
    scores = jnp.einsum("xtnh,xsnh->xnts", q, k, preferred_element_type=jnp.float32)
    mask = (segment[:, :, None] == segment[:, None, :]) & (segment[:, None, :] > 0)
    scores = jnp.where(mask[:, None], scores * q.shape[-1] ** -0.5, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("xnts,xsnh->xtnh", weights, v)


def attend_group(
    q: Float[Array, "B G T N H"],
    k: Float[Array, "B G K S H"],
    v: Float[Array, "B G K S H"],
    mask: Bool[Array, "B G T S"],
    prefix: Past | None = None,
    cache: Past | None = None,
) -> Float[Array, "B G T N H"]:
    """Attends from suffix tokens to each other as `mask` says, and to all that came before them.

    Query heads N are grouped over key heads K in order (head n reads key head n // (N / K)).
    """
    B, G, T, N, H = q.shape
    K = k.shape[2]
    grouped = q.reshape(B, G, T, K, N // K, H) * jnp.asarray(H**-0.5, q.dtype)
    part = _over_own(grouped, k, v, mask)
    if cache is not None:
        part = join(part, _over_own(grouped, cache.k, cache.v, cache.mask[:, :, None]))
    if prefix is not None:
        part = join(part, _over_prefix(grouped, prefix))
    out = part.values / part.total[..., None]
    return jnp.moveaxis(out, 4, 2).reshape(B, G, T, N, H).astype(q.dtype)


def _over_own(grouped: Array, k: Array, v: Array, mask: Array) -> Partial:
    """Each episode's queries [B, G, T, K, M, H] against its own keys [B, G, K, S, H]."""
    scores = jnp.einsum("bgtkmh,bgksh->bgkmts", grouped, k, preferred_element_type=jnp.float32)
    return _partial(
        scores,
        mask[:, :, None, None],
        lambda w: jnp.einsum("bgkmts,bgksh->bgkmth", w.astype(v.dtype), v).astype(jnp.float32),
    )


def _over_prefix(grouped: Array, prefix: Past) -> Partial:
    """All episodes' queries against the group's keys as one batched product."""
    B, G, T, K, M, H = grouped.shape
    k, v, mask = prefix
    rows = grouped.transpose(0, 3, 4, 1, 2, 5).reshape(B, K, M * G * T, H)
    scores = jnp.einsum("bkrh,bkph->bkrp", rows, k, preferred_element_type=jnp.float32)
    part = _partial(
        scores,
        mask[:, None, None],
        lambda w: jnp.einsum("bkrp,bkph->bkrh", w.astype(v.dtype), v).astype(jnp.float32),
    )

    def to_groups(x):  # [B, K, M*G*T, ...] -> [B, G, K, M, T, ...]
        x = x.reshape(B, K, M, G, T, *x.shape[3:])
        return jnp.moveaxis(x, 3, 1)

    return Partial(*(to_groups(x) for x in part))
