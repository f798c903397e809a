"""Attention on TPUs: splash attention, the Pallas kernel that comes with JAX.

A group is one sequence of queries, its episodes side by side, and one sequence of keys: those that
all episodes see, then each episode's own. So the keys of a prompt exist once. A mask known when the
program is made says what a query sees by its place, and blocks in which it sees nothing cost
nothing; segment ids say which keys are real. One call has the whole softmax, so gradients are the
kernel's own: it has none through the log-sum-exps by which several calls would be joined.
Lengths are padded to blocks. The kernel is for one device: on a mesh each has its own call of it.
Source: jax.experimental.pallas.ops.tpu.splash_attention.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax.arrays import Array, Bool, Float, Int
from r3jax.kernels.past import KEPT, Past

LANES = 128  # lengths are padded to a multiple of it
MOST_LANES = 4  # of a block
KINDS = ("bfloat16", "float32")


@dataclasses.dataclass(frozen=True)
class GroupMask(masks.Mask):
    """What a query may see by its place: all of `shared` keys, and of its episode's own keys those
    up to its place among the episode's queries, and `before` more.

    With one shared key, two episodes of two queries and three keys, and one key before them:

    >>> GroupMask(shared=1, episodes=2, queries=2, keys=3, before=1)[:, :].astype(int)
    array([[1, 1, 1, 0, 0, 0, 0],
           [1, 1, 1, 1, 0, 0, 0],
           [1, 0, 0, 0, 1, 1, 0],
           [1, 0, 0, 0, 1, 1, 1]])
    """

    shared: int
    episodes: int
    queries: int
    keys: int
    before: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.episodes * self.queries, self.shared + self.episodes * self.keys

    def __getitem__(self, index) -> np.ndarray:
        row, column = (np.arange(size)[part] for size, part in zip(self.shape, index))
        episode, place = np.divmod(row[:, None], self.queries)
        owner, key = np.divmod(column[None] - self.shared, self.keys)
        return (owner < 0) | ((owner == episode) & (key <= place + self.before))


def attend_segments(
    q: Float[Array, "X T N H"],
    k: Float[Array, "X T N H"],
    v: Float[Array, "X T N H"],
    segment: Int[Array, "X T"],
    interpret: bool = False,
) -> Float[Array, "X T N H"]:
    """As `attention.attend_segments`. Short rows share a block, as segments of their own."""
    X, T, N, H = q.shape
    fold = max(1, LANES // T)
    rows = -(-X // fold)
    segment = _pad(jnp.asarray(segment), 0, fold).reshape(rows, fold, T) * fold
    segment = segment + jnp.arange(fold, dtype=segment.dtype)[None, :, None]
    segment = _pad(segment.reshape(rows, fold * T), 1)

    def together(y):
        y = _pad(y, 0, fold).reshape(rows, fold * T, N, H)
        return _pad(jnp.moveaxis(y, 1, 2), 2)

    length = segment.shape[1]
    mask, block = masks.FullMask((length, length)), _block(length)
    ids = splash.SegmentIds(segment, segment)
    out = _attend(*(together(y) for y in (q, k, v)), ids, mask, (block, block), interpret)
    out = jnp.moveaxis(out[:, :, : fold * T], 2, 1)
    return out.reshape(rows * fold, T, N, H)[:X]


def attend_group(
    q: Float[Array, "B G T N H"],
    k: Float[Array, "B K G T H"],
    v: Float[Array, "B K G T H"],
    valid: Bool[Array, "B G T"] | None,
    pasts: Sequence[Past] = (),
    interpret: bool = False,
) -> Float[Array, "B G T N H"]:
    """As `attention.attend_group`."""
    B, G, T, N, H = q.shape
    K = k.shape[1]
    valid = jnp.ones((B, G, T), bool) if valid is None else jnp.asarray(valid)
    common = [past for past in pasts if past.mask.ndim == 2]
    cached = [past for past in pasts if past.mask.ndim == 3]
    own = _join([*cached, Past(k, v, valid)])
    E = own.mask.shape[2]
    flat = Past(*(y.reshape(B, K, G * E, H) for y in own[:2]), own.mask.reshape(B, G * E))
    keys = _concatenate([_join(common), flat]) if common else flat
    queries, seen = _pad(q, 2), _pad(valid, 2)  # [B, G, T, N, H] and [B, G, T]
    T_padded, P = queries.shape[2], keys.mask.shape[1] - G * E
    before = sum(past.mask.shape[2] for past in cached)
    mask = GroupMask(shared=P, episodes=G, queries=T_padded, keys=E, before=before)
    ids = splash.SegmentIds(*(y.reshape(B, -1).astype(jnp.int32) for y in (seen, keys.mask)))
    rows = queries.reshape(B, G * T_padded, N, H).transpose(0, 2, 1, 3)
    blocks = _block(T_padded), _block(P, E)
    out = _attend(rows, keys.k, keys.v, ids, mask, blocks, interpret)
    return out.transpose(0, 2, 1, 3).reshape(queries.shape)[:, :, :T]


def _attend(
    q: Float[Array, "B N T H"],
    k: Float[Array, "B K S H"],
    v: Float[Array, "B K S H"],
    ids: splash.SegmentIds,
    mask: masks.Mask,
    blocks: tuple[int, int],
    interpret: bool,
) -> Float[Array, "B N T H"]:
    """One call of the kernel a batch; `blocks` are so many queries and keys.

    On a mesh each device attends to the groups and the heads that it has.
    """
    _check(q, k, v)
    attend = functools.partial(_attend_locally, mask=mask, blocks=blocks, interpret=interpret)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return attend(q, k, v, ids)
    of_q, of_k = (
        mesh_lib.split(("groups", heads, None, None), array.shape, mesh, mesh_lib.DECODE)
        for heads, array in (("heads", q), ("kv_heads", k))
    )
    if of_q[1] != of_k[1]:
        raise ValueError(
            f"splash attention has {q.shape[1]} query heads and {k.shape[1]} key heads on a mesh "
            f"of {dict(mesh.shape)}: tensor must divide both or neither"
        )
    of_ids = PartitionSpec(of_q[0], None)
    return jax.shard_map(
        attend,
        mesh=mesh,
        in_specs=(of_q, of_k, of_k, splash.SegmentIds(of_ids, of_ids)),
        out_specs=of_q,
        check_vma=False,  # the kernel says nothing of it
    )(q, k, v, ids)


def _attend_locally(
    q: Array,
    k: Array,
    v: Array,
    ids: splash.SegmentIds,
    mask: masks.Mask,
    blocks: tuple[int, int],
    interpret: bool,
) -> Array:
    """As `_attend`, on one device."""
    of_q, of_k = blocks
    sizes = splash.BlockSizes(
        block_q=of_q,
        block_kv=of_k,
        block_q_dkv=of_q,
        block_kv_dkv=of_k,
        block_q_dq=of_q,
        block_kv_dq=of_k,
    )
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([mask] * q.shape[1]),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=KEPT,
        interpret=interpret,
    )
    scaled = q * q.shape[-1] ** -0.5  # the kernel does not
    return jax.vmap(kernel)(scaled, k, v, ids)


def _join(parts: Sequence[Past]) -> Past:
    """Keys of all parts side by side, padded to whole blocks by keys that are not real."""
    return Past(*(_pad(y, axis) for y, axis in zip(_concatenate(parts), (-2, -2, -1))))


def _concatenate(parts: Sequence[Past]) -> Past:
    return Past(*(jnp.concatenate(y, axis) for y, axis in zip(zip(*parts), (-2, -2, -1))))


def _pad(array: Array, axis: int, multiple: int = LANES) -> Array:
    """Adds zeros at the end of an axis, to a multiple."""
    more = [(0, 0)] * array.ndim
    more[axis] = (0, -array.shape[axis] % multiple)
    return jnp.pad(array, more)


def _block(*lengths: int) -> int:
    """The largest block that divides all of the lengths, which are multiples of LANES or 0."""
    lanes = math.gcd(*lengths) // LANES
    return LANES * max(n for n in range(1, MOST_LANES + 1) if lanes % n == 0)


def _check(q: Array, k: Array, v: Array) -> None:
    kinds = {str(y.dtype) for y in (q, k, v)}
    if len(kinds) > 1 or not kinds <= set(KINDS):
        raise ValueError(
            f"splash attention takes queries, keys and values in one of {KINDS}, found "
            f"{sorted(kinds)}: compute in one of them, or name the back-end 'xla'"
        )
