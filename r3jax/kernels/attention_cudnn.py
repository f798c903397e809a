"""Attention on NVIDIA GPUs: cuDNN's flash attention, as JAX calls it.

Keys of all parts are put side by side, those of a group once for each of its episodes, and one
mask says which of them a query sees. Joining separate calls by their log-sum-exps would spare the
copies, but JAX rounds those to 16 bits and passes no gradient through them. cuDNN reads the mask
as a bias in the dtype of the queries, so it takes twice its T*S bytes, once for all heads.
Rematerialisation runs the forward pass again: it has no name for the log-sum-exps that are kept.
Source: jax.nn.dot_product_attention.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels.past import Past

EVEN = 2  # lengths must be a multiple of it where there is a mask and a gradient
HEAD = 8  # so must the width of a head
MOST = 128  # the widest head; newer cards than we ask for take more


def attend_segments(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X T N H"],
    v: Float[Array, "X T N H"],
    segment: Int[Array, "X T"],
) -> Float[Array, "X T N H"]:
    """As `attention.attend_segments`."""
    mine, others = segment[:, :, None], segment[:, None]
    return _attend(q, k, v, (mine == others) & (others != 0))


def attend_group(
    q: Float[Array, "B G T N H"],
    k: Float[Array, "B K G T H"],
    v: Float[Array, "B K G T H"],
    valid: Bool[Array, "B G T"] | None,
    pasts: Sequence[Past] = (),
) -> Float[Array, "B G T N H"]:
    """As `attention.attend_group`."""
    B, G, T, N, H = q.shape
    order = jnp.asarray(np.tril(np.ones((1, 1, T, T), bool)))
    own = Past(k, v, order if valid is None else order & valid[:, :, None])
    parts = [own, *(_of_episodes(past, G) for past in pasts)]
    masks = [jnp.broadcast_to(part.mask, (B, G, T, part.k.shape[3])) for part in parts]
    keys, values = (
        jnp.concatenate(y, axis=3).transpose(0, 2, 3, 1, 4).reshape(B * G, -1, k.shape[1], H)
        for y in ([part.k for part in parts], [part.v for part in parts])
    )
    mask = jnp.concatenate(masks, axis=3).reshape(B * G, T, -1)
    return _attend(q.reshape(B * G, T, N, H), keys, values, mask).reshape(q.shape)


def _of_episodes(past: Past, episodes: int) -> Past:
    """Keys [B, K, G, S, H] of each episode and the mask [B, G, 1, S] of its queries."""
    if past.mask.ndim == 3:
        return Past(past.k, past.v, past.mask[:, :, None])
    k, v = (jnp.repeat(y[:, :, None], episodes, axis=2) for y in (past.k, past.v))
    return Past(k, v, past.mask[:, None, None])


def _attend(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X S K H"],
    v: Float[Array, "X S K H"],
    mask: Bool[Array, "X T S"],
) -> Float[Array, "X T N H"]:
    """One call of cuDNN, with lengths made even."""
    _check(q, k, v)
    T = q.shape[1]
    q, k, v = (_pad(y, {1: y.shape[1]}) for y in (q, k, v))
    mask = _pad(mask, {1: mask.shape[1], 2: mask.shape[2]})
    out = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None], implementation="cudnn")
    return out[:, :T]


def _pad(array: Array, lengths: dict[int, int]) -> Array:
    """Adds zeros at the end of the axes in `lengths` to make them even."""
    return jnp.pad(array, [(0, -lengths.get(axis, 0) % EVEN) for axis in range(array.ndim)])


def _check(q: Array, k: Array, v: Array) -> None:
    kinds, width = {str(y.dtype) for y in (q, k, v)}, q.shape[-1]
    if kinds not in ({"bfloat16"}, {"float16"}):
        raise ValueError(
            f"attention by cuDNN takes queries, keys and values in bfloat16 or in float16, found "
            f"{sorted(kinds)}: compute in bfloat16, or name the back-end 'xla'"
        )
    if width % HEAD or width > MOST:
        raise ValueError(
            f"attention by cuDNN takes heads whose width is a multiple of {HEAD} up to {MOST}, "
            f"found {width}: name the back-end 'xla'"
        )
