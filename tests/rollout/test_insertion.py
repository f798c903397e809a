"""Rows that wait are taken out of the state and put back; nothing else of it changes."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.model import caches
from r3jax.rollout import insertion, state
from tests import tiny

GROUPS, EPISODES, SLOTS, PROMPT, TOKENS, LINES = 3, 2, 24, 6, 5, 4
ROWS = GROUPS * EPISODES


def filled() -> state.DecodeState:
    """A state in which no two numbers of an array are the same."""
    empty = state.start(tiny.model().config, GROUPS, EPISODES, SLOTS, PROMPT, jnp.float32)

    def numbered(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return jnp.arange(leaf.size).reshape(leaf.shape).astype(leaf.dtype)

    made = jax.tree.map(numbered, empty)
    return made._replace(length=jnp.array([[3, 9], [1, 12], [7, 5]], jnp.int32))


def of_row(array, row: int):
    """What an array [B, ..., G, ...] of a state's cache or [B, G, ...] has of a row."""
    group, episode = divmod(row, EPISODES)
    return array[group, :, episode] if array.ndim == 5 else array[group, episode]


take, put = jax.jit(insertion.take), jax.jit(insertion.put)


@settings(max_examples=30)
@given(
    rows=st.lists(st.integers(0, ROWS - 1), max_size=LINES, unique=True),
    counts=st.lists(st.integers(0, TOKENS), min_size=LINES, max_size=LINES),
)
def test_what_is_put_into_rows_is_there_and_nothing_else_changes(rows, counts):
    before, rng = filled(), np.random.default_rng(0)
    lines = insertion.empty(LINES, TOKENS, ROWS)
    lines.row[: len(rows)] = rows
    lines.count[: len(rows)] = counts[: len(rows)]
    for array in (lines.tokens, lines.positions, lines.next_position):
        array[:] = rng.integers(1000, 2000, array.shape)
    lines.source[:], lines.status[:] = state.Source.IMAGE, state.Status.DECODING
    taken = take(before, lines.row)
    new = jax.tree.map(
        lambda kept: rng.random((*kept.shape[:3], TOKENS, kept.shape[-1]), np.float32), taken.cache
    )
    after = put(before, lines, new)

    for line, row in enumerate(rows):
        length, count = int(of_row(before.length, row)), int(lines.count[line])
        fed = slice(length - 1, length - 1 + TOKENS)
        for kept, was in zip(*map(jax.tree.leaves, (taken.cache, before.cache))):
            np.testing.assert_array_equal(kept[line, :, 0], of_row(was, row))
        for kept, values in zip(*map(jax.tree.leaves, (after.cache, new))):
            np.testing.assert_array_equal(of_row(kept, row)[:, fed], values[line, :, 0])
        assert taken.slot[line] == length - 1 and of_row(after.length, row) == length + count
        assert taken.token[line] == of_row(before.tokens, row)[length - 1]
        there = slice(length, length + count)
        np.testing.assert_array_equal(of_row(after.tokens, row)[there], lines.tokens[line, :count])
        for axis in range(3):
            position = of_row(after.positions[axis], row)
            np.testing.assert_array_equal(position[there], lines.positions[line, axis, :count])
            assert taken.position[axis, line] == of_row(before.positions[axis], row)[length - 1]
        assert of_row(after.status, row) == state.Status.DECODING
        for prompts, kept in zip(*map(jax.tree.leaves, (taken.prefix, before.prefix))):
            np.testing.assert_array_equal(prompts[line], kept[row // EPISODES])
    for row in {*range(ROWS)} - {*rows}:
        for name in ("cache", "tokens", "source", "length", "next_position", "automaton", "status"):
            pairs = zip(*(jax.tree.leaves(getattr(one, name)) for one in (after, before)))
            for now, was in pairs:
                np.testing.assert_array_equal(of_row(now, row), of_row(was, row))
    np.testing.assert_array_equal(after.logp, before.logp)


def test_a_cache_is_written_where_it_lies():
    """A copy of it for each look would cost more than the look."""
    before = filled()
    lines = insertion.empty(LINES, TOKENS, ROWS)
    new = jax.tree.map(
        lambda kept: jnp.ones((*kept.shape[:3], TOKENS, kept.shape[-1])),
        take(before, lines.row).cache,
    )
    write = jax.jit(caches.write_rows, donate_argnums=0)
    at = jnp.divmod(lines.row, EPISODES)
    compiled = write.lower(before.cache, new, *at, jnp.zeros(LINES, jnp.int32)).compile()
    used = compiled.memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(before.cache))
    assert used.alias_size_in_bytes >= size and used.temp_size_in_bytes < size / 2
