"""What all back-ends of attention take, and the name by which rematerialisation knows them."""

from typing import NamedTuple

from r3jax.arrays import Array

KEPT = "attention"  # the name under which rematerialisation may keep what comes out


class Past(NamedTuple):
    """Keys and values, and which of them are real.

    Of a group: [B, K, P, H], mask bool [B, P]; of its episodes: [B, K, G, S, H], mask [B, G, S].
    """

    k: Array
    v: Array
    mask: Array | None
