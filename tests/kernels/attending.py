"""Arguments of attention for tests, its gradients, and XLA's as the reference for back-ends.

What comes out at padding has no meaning, so it is left out on both sides.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.kernels import attention_xla
from r3jax.kernels.past import Past

HALF = 0.02  # of the norm of what is expected


def draw(rng, *shape, dtype=np.float32):
    return jnp.asarray(rng.standard_normal(shape), dtype)


def draw_group(shape, seed, dtype=np.float32):
    """Arguments of `attend_group` and a cotangent; about half of the keys before are real."""
    B, G, T, P, S, K, N, H = shape
    rng = np.random.RandomState(seed)
    real = functools.partial(draw, rng, dtype=dtype)
    valid = np.arange(T) < rng.randint(1, T + 1, (B, G, 1))
    pasts = []
    if S:
        keys = real(B, K, G, S, H), real(B, K, G, S, H)
        pasts.append(Past(*keys, np.arange(S) < rng.randint(0, S + 1, (B, G, 1))))
    if P:
        pasts.append(Past(real(B, K, P, H), real(B, K, P, H), rng.rand(B, P) < 0.5))
    own = real(B, G, T, N, H), real(B, K, G, T, H), real(B, K, G, T, H)
    return (*own, valid, tuple(pasts)), real(B, G, T, N, H) * valid[..., None, None]


def draw_rows(shape, seed, dtype=np.float32):
    """Arguments of `attend_segments` and a cotangent; three segments of any places, and padding."""
    X, T, N, H = shape
    rng = np.random.RandomState(seed)
    segment = rng.randint(0, 4, (X, T)).astype(np.int32)
    q, k, v, cotangent = (draw(rng, X, T, N, H, dtype=dtype) for _ in range(4))
    return (q, k, v, segment), cotangent * (segment > 0)[..., None, None]


def differentiated(attend):
    """A jitted function from arguments and a cotangent to what comes out and all gradients."""

    def run(arguments, cotangent):
        leaves, structure = jax.tree.flatten(arguments)
        moving = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

        def loss(values):
            whole = list(leaves)
            for i, value in zip(moving, values):
                whole[i] = value
            out = attend(*jax.tree.unflatten(structure, whole))
            shown = jnp.where(cotangent != 0, out, 0)
            return (shown.astype(jnp.float32) * cotangent).sum(), shown

        return jax.grad(loss, has_aux=True)([leaves[i] for i in moving])

    return jax.jit(run)


XLA = {
    "group": differentiated(attention_xla.attend_group),
    "rows": differentiated(attention_xla.attend_segments),
}


def assert_close(found, exact):
    """Close to what float32 gives, as arrays: single values may be small beside their terms."""
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert mine.dtype == jnp.bfloat16
        difference = np.linalg.norm(np.asarray(mine, np.float32) - theirs)
        assert difference <= HALF * np.linalg.norm(theirs)


def widened(tree):
    return jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x, tree)
