"""What tokens see: the ways in which a layer's queries meet keys and values.

Each has `attend`, told which back-end of attention to use.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array
from r3jax.kernels import attention
from r3jax.kernels.attention import Backend
from r3jax.model.caches import KeyValues
from r3jax.model.stream import Stream


class Grouped(NamedTuple):
    """What tokens [B, G, T] see: the `valid` ones before them, bool [B, G, T] (None: all), and of
    what came before, where the masks are true."""

    valid: Array | None
    past_masks: Sequence[Array]

    def attend(
        self, q: Array, k: Array, v: Array, past: Sequence[KeyValues], backend: Backend
    ) -> tuple[Array, KeyValues]:
        """Attends; returns what comes out and the keys and values to keep, heads first."""
        k, v = jnp.moveaxis(k, 3, 1), jnp.moveaxis(v, 3, 1)
        seen = _seen(past, self.past_masks)
        out = attention.attend_group(q, k, v, self.valid, seen, backend)
        return out, KeyValues(k, v)


class Stepped(NamedTuple):
    """What the token of a step sees, one of each row: the steps before it, `number` of them, which
    lie in the first of the pasts; and of the others where the masks are true."""

    number: Array
    past_masks: Sequence[Array]

    def attend(
        self, q: Array, k: Array, v: Array, past: Sequence[KeyValues], backend: Backend
    ) -> tuple[Array, KeyValues]:
        """Attends; returns what comes out and the first of the pasts with this step in it.

        A step is XLA's whatever the back-end (`attention.attend_past`).
        """
        before, *older = past
        k, v = jnp.moveaxis(k, 3, 1), jnp.moveaxis(v, 3, 1)
        steps = KeyValues(
            jax.lax.dynamic_update_slice_in_dim(before.k, k, self.number, axis=3),
            jax.lax.dynamic_update_slice_in_dim(before.v, v, self.number, axis=3),
        )
        done = jnp.arange(steps.k.shape[3])[None, None] <= self.number
        seen = _seen([steps, *older], [done, *self.past_masks])
        return attention.attend_past(q, seen), steps


class Packed(NamedTuple):
    """What tokens [R, J] of a stream see: prompts themselves, suffixes their prompt as well."""

    stream: Stream

    def attend(
        self, q: Array, k: Array, v: Array, past: Sequence, backend: Backend
    ) -> tuple[Array, None]:
        """Attends within each group; nothing is kept."""
        (q1, q2), (k1, k2), (v1, v2) = (self.stream.spread(y) for y in (q, k, v))
        k1, v1 = (jnp.moveaxis(y, 2, 1) for y in (k1, v1))  # [B, K, P, H]
        k2, v2 = (jnp.moveaxis(y, 3, 1) for y in (k2, v2))  # [B, K, G, T, H]
        seen = self.stream.prompt_mask
        prompt = attention.attend_group(
            q1[:, None], k1[:, :, None], v1[:, :, None], seen[:, None], (), backend
        )
        before = attention.Past(k1, v1, seen)
        mask = self.stream.suffix_mask
        suffix = attention.attend_group(q2, k2, v2, mask, [before], backend)
        return self.stream.gather(prompt[:, 0], suffix), None


def _seen(past: Sequence[KeyValues], masks: Sequence[Array]) -> list[attention.Past]:
    return [attention.Past(*kv, mask) for kv, mask in zip(past, masks, strict=True)]
