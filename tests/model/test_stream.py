"""Packed streams: nothing real is lost on the way, padding is zero, gradients are gathers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.model.stream import lay_out, move


def draw(seed: int, rows: int, B: int, G: int, P: int, T: int, spare: int):
    """Random lengths and their stream with `spare` places of padding in its fullest row."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, P + 1, B), rng.integers(0, T + 1, (B, G))
    by_row = (lengths[0] + lengths[1].sum(1)).reshape(rows, -1).sum(1)
    return lengths, lay_out(*lengths, P, T, int(by_row.max()) + spare, rows)


@settings(max_examples=60)
@given(
    st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 2), st.integers(1, 3),
    st.integers(1, 5), st.integers(1, 6), st.integers(0, 4),
)  # fmt: skip
def test_there_and_back_keeps_every_token_and_zeroes_padding(seed, rows, each, G, P, T, spare):
    B = rows * each
    (of_prompts, of_suffixes), stream = draw(seed, rows, B, G, P, T, spare)
    rng = np.random.default_rng(seed)
    prompt, suffix = rng.normal(size=(B, P, 2)), rng.normal(size=(B, G, T, 2))
    packed = stream.gather(prompt, suffix)
    real = np.asarray(stream.place) < each * (P + G * T)
    assert not np.asarray(packed)[~real].any()
    assert real.sum() == of_prompts.sum() + of_suffixes.sum()
    again = stream.spread(packed)
    masks = np.arange(P) < of_prompts[:, None], np.arange(T) < of_suffixes[..., None]
    for found, values, mask in zip(again, (prompt, suffix), masks, strict=True):
        np.testing.assert_array_equal(
            found, np.where(mask[..., None], values, 0).astype(np.float32)
        )
    np.testing.assert_array_equal(stream.prompt_mask, masks[0])
    np.testing.assert_array_equal(stream.suffix_mask, masks[1])


def test_gradients_are_those_of_plain_indexing():
    _, stream = draw(0, 1, 2, 2, 3, 4, 2)
    size = stream.place.shape[1]
    index = np.concatenate([stream.prompt.reshape(-1), stream.suffix.reshape(-1)])
    values = np.random.default_rng(1).normal(size=(1, size, 3)).astype(np.float32)
    weight = np.random.default_rng(2).normal(size=(1, len(index), 3)).astype(np.float32)

    def ours(y):
        return (move(y, index[None], stream.place) * weight).sum()

    def plain(y):
        taken = jnp.pad(y[0], [(0, 1), (0, 0)])[index]
        return (taken * weight[0]).sum()

    np.testing.assert_allclose(jax.grad(ours)(values), jax.grad(plain)(values), rtol=1e-6)


def test_groups_that_no_row_holds_are_named():
    with pytest.raises(ValueError, match="9 tokens do not fit into a stream of 8"):
        lay_out(np.array([3]), np.array([[6]]), 4, 8, 8)
    with pytest.raises(ValueError, match="3 groups cannot be dealt to 2 rows"):
        lay_out(np.ones(3, int), np.ones((3, 1), int), 4, 8, 20, rows=2)
