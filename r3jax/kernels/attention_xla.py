"""Attention by XLA on any device: the reference for the other back-ends.

Segments of a row, and a shared prefix plus an own suffix, are one function. Queries go block by
block, so that scores exist for one block at a time: each block meets the keys that came with it
(causally, or within its segment) and those that were there before, under one softmax in float32.
The gradient makes the scores again from the log-sum-exp instead of keeping them.
Source: the block-wise forward and backward of FlashAttention; sharing keys in a group is our own.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels.past import KEPT, Past

MASKED = -1e30  # finite, so that a row without any key gives numbers and not NaN
BLOCK = 128  # queries of a sequence that have scores at the same time, at least
FEW = 8  # rows for which a matrix product would cost less than packing the keys for it
MOST_BLOCKS = 16  # they are unrolled: a long sequence takes larger ones


def attend_segments(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X T N H"],
    v: Float[Array, "X T N H"],
    segment: Int[Array, "X T"],
) -> Float[Array, "X T N H"]:
    """As `attention.attend_segments`."""
    q, k, v = (jnp.moveaxis(y, 1, 2) for y in (q, k, v))
    own = Past(k[:, :, None], v[:, :, None], segment[:, None])
    out = _attend(False, q[:, :, None, None], own, ())
    return jnp.moveaxis(out[:, :, 0, 0], 1, 2)


def attend_group(
    q: Float[Array, "B G T N H"],
    k: Float[Array, "B K G T H"],
    v: Float[Array, "B K G T H"],
    valid: Bool[Array, "B G T"] | None,
    pasts: Sequence[Past] = (),
) -> Float[Array, "B G T N H"]:
    """As `attention.attend_group`."""
    out = _attend(True, _by_key_head(q, k.shape[1]), Past(k, v, valid), tuple(pasts))
    return _by_token(out, q.shape)


def attend_past(q: Float[Array, "B G T N H"], pasts: Sequence[Past]) -> Float[Array, "B G T N H"]:
    """As `attention.attend_past`."""
    rows = _by_key_head(q, pasts[0].k.shape[1])
    parts = [(_past_scores(rows, past), past) for past in pasts]
    return _by_token(_combine(parts)[0].astype(q.dtype), q.shape)


def _by_key_head(q: Array, heads: int) -> Array:
    """Queries [B, G, T, N, H] as rows [B, K, G, M, T, H], M of them for each key head."""
    B, G, T, N, H = q.shape
    return q.reshape(B, G, T, heads, N // heads, H).transpose(0, 3, 1, 4, 2, 5)


def _by_token(rows: Array, shape: tuple[int, ...]) -> Array:
    """Back from rows [B, K, G, M, T, H] to the shape of the queries."""
    return rows.transpose(0, 2, 4, 1, 3, 5).reshape(shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(causal: bool, q: Array, own: Past, pasts: tuple[Past, ...]) -> Array:
    """Rows q [B, K, G, M, T, H] over keys of `own` [B, K, G, T, H] and of `pasts`.

    The mask of `own` numbers segments that do not see each other, int or bool [B, G, T] (0: not
    seen at all), or is None for a single one.
    """
    return _forward(causal, q, own, pasts)[0]


def _forward(causal: bool, q: Array, own: Past, pasts: tuple[Past, ...]):
    outs, totals = [], []
    for lo, hi in _blocks(q.shape[4]):
        rows = q[..., lo:hi, :]
        out, total = _combine([*_parts(causal, rows, lo, hi, own, pasts)])
        outs.append(out.astype(q.dtype))
        totals.append(total)
    out, lse = (checkpoint_name(jnp.concatenate(y, axis=4), KEPT) for y in (outs, totals))
    return out, (q, own, pasts, out, lse)


def _combine(parts: Sequence[tuple[Array, Past]]) -> tuple[Array, Array]:
    """One softmax over the scores of all parts: what comes out and the log-sum-exp, in float32."""
    maximum = functools.reduce(jnp.maximum, [scores.max(-1) for scores, _ in parts])
    weights = [jnp.exp(scores - maximum[..., None]) for scores, _ in parts]
    total = sum(w.sum(-1) for w in weights)
    values = sum(_weigh(w, past.v) for w, (_, past) in zip(weights, parts))
    return values / total[..., None], maximum + jnp.log(total)


def _backward(causal: bool, kept, gradient: Array):
    q, own, pasts, out, lse = kept
    T = q.shape[4]
    scale = q.shape[-1] ** -0.5
    inner = (gradient.astype(jnp.float32) * out.astype(jnp.float32)).sum(-1)
    to_q, to_kv = [], [_zeros(past) for past in (own, *pasts)]
    for lo, hi in _blocks(T):
        rows, upstream = q[..., lo:hi, :], gradient[..., lo:hi, :]
        block_lse, block_inner = lse[..., lo:hi, None], inner[..., lo:hi, None]
        to_rows = 0.0
        for i, (scores, past) in enumerate(_parts(causal, rows, lo, hi, own, pasts)):
            weights = jnp.exp(scores - block_lse)
            to_scores = weights * (_scores(upstream, past.v) - block_inner) * scale
            to_rows += _weigh(to_scores, past.k)
            n = past.k.shape[-2]
            dk, dv = to_kv[i]
            dk = dk.at[..., :n, :].add(_collect(to_scores, rows, past.k))
            to_kv[i] = dk, dv.at[..., :n, :].add(_collect(weights, upstream, past.v))
        to_q.append(to_rows.astype(q.dtype))
    first, *rest = (
        Past(dk.astype(past.k.dtype), dv.astype(past.v.dtype), None)
        for (dk, dv), past in zip(to_kv, (own, *pasts))
    )
    return jnp.concatenate(to_q, axis=4), first, tuple(rest)


_attend.defvjp(_forward, _backward)


def _blocks(length: int) -> list[tuple[int, int]]:
    size = max(BLOCK, -(-length // MOST_BLOCKS))
    return [(lo, min(lo + size, length)) for lo in range(0, length, size)]


def _zeros(past: Past) -> tuple[Array, Array]:
    return tuple(jnp.zeros(y.shape, jnp.float32) for y in (past.k, past.v))


def _parts(
    causal: bool, rows: Array, lo: int, hi: int, own: Past, pasts: tuple[Past, ...]
) -> Iterator[tuple[Array, Past]]:
    """Yields masked scores [B, K, G, M, T, S] of the block lo:hi with the keys of each part.

    Of `own` only the keys that the block may see are there.
    """
    scale = rows.shape[-1] ** -0.5
    end = hi if causal else own.k.shape[-2]
    masks = []
    if causal:
        order = np.arange(lo, hi)[:, None] >= np.arange(end)
        masks.append(jnp.asarray(order[(None,) * 4]))
    if own.mask is not None:
        mine, others = own.mask[..., lo:hi, None], own.mask[..., None, :end]
        masks.append(((mine == others) & (others != 0))[:, None, :, None])
    seen = Past(own.k[..., :end, :], own.v[..., :end, :], own.mask)
    scores = _scores(rows, seen.k) * scale
    yield (jnp.where(functools.reduce(jnp.logical_and, masks), scores, MASKED), seen)
    for past in pasts:
        yield _past_scores(rows, past), past


def _past_scores(rows: Array, past: Past) -> Array:
    """Masked scores [B, K, G, M, T, S] of rows with the keys that came before them."""
    mask = past.mask if past.mask.ndim == 3 else past.mask[:, None]
    scores = _scores(rows, past.k) * rows.shape[-1] ** -0.5
    return jnp.where(mask[:, None, :, None, None], scores, MASKED)


def _flat(rows: Array, keys: Array) -> Array:
    """Rows [B, K, G, M, T, X] as one matrix for each matrix of keys [B, K, (G), S, H]."""
    return rows.reshape(*keys.shape[:-2], -1, rows.shape[-1])


def _scores(rows: Array, keys: Array) -> Array:
    """Products [B, K, G, M, T, S] of rows [B, K, G, M, T, H] with their keys, in float32."""
    flat = _flat(rows, keys)
    if flat.shape[-2] <= FEW:
        wide = flat[..., None, :].astype(jnp.float32) * keys[..., None, :, :]
        scores = wide.sum(-1)
    else:
        scores = jnp.einsum("...rh,...sh->...rs", flat, keys, preferred_element_type=jnp.float32)
    return scores.reshape(*rows.shape[:-1], keys.shape[-2])


def _weigh(weights: Array, values: Array) -> Array:
    """Sums of values [B, K, (G), S, H] by weights [B, K, G, M, T, S], in float32."""
    flat = _flat(weights.astype(values.dtype), values)
    out = jnp.einsum("...rs,...sh->...rh", flat, values, preferred_element_type=jnp.float32)
    return out.reshape(*weights.shape[:-1], values.shape[-1])


def _collect(weights: Array, rows: Array, keys: Array) -> Array:
    """Sums over rows [B, K, G, M, T, H] by weights [B, K, G, M, T, S], one for each of the keys."""
    flat = _flat(weights.astype(rows.dtype), keys)
    return jnp.einsum(
        "...rs,...rh->...sh", flat, _flat(rows, keys), preferred_element_type=jnp.float32
    )
