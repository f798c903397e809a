"""Rows that wait are taken out of the state and put back; nothing else of it changes."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax.model import caches
from r3jax.records import Source
from r3jax.rollout import insertion, state, stops
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


def expected(before: state.DecodeState, lines: insertion.Insertion, rows: int, new):
    """What `put` is to make of a state: the first `rows` lines, written one number at a time."""
    after = jax.tree.map(np.array, before._replace(keys=0))
    for line in range(rows):
        at = divmod(int(lines.row[line]), EPISODES)
        length, count = int(before.length[at]), int(lines.count[line])
        for kept, values in zip(*map(jax.tree.leaves, (after.cache, new)), strict=True):
            fed = slice(length - 1, length - 1 + TOKENS)
            kept[at[0], :, at[1], fed] = values[line, :, 0]
        for slot in range(count):
            where = (*at, length + slot)
            after.tokens[where] = lines.tokens[line, slot]
            after.source[where] = lines.source[line, slot]
            after.positions[(slice(None), *where)] = lines.positions[line, :, slot]
        after.length[at] += count
        after.next_position[at], after.status[at] = lines.next_position[line], lines.status[line]
        after.automaton[at] = stops.START
    return after._replace(waited=np.zeros((), np.int32))


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
    lines.source[:], lines.status[:] = Source.IMAGE, state.Status.DECODING
    taken = take(before, lines.row)
    new = jax.tree.map(
        lambda kept: rng.random((*kept.shape[:3], TOKENS, kept.shape[-1]), np.float32), taken.cache
    )
    after = put(before, lines, new)._replace(keys=0)
    jax.tree.map(np.testing.assert_array_equal, after, expected(before, lines, len(rows), new))


def test_rows_are_taken_out_with_what_they_see_and_what_they_are_fed_next():
    before, rows = filled(), [5, 0, ROWS, 2]
    taken = take(before, np.array(rows, np.int32))
    for line, row in enumerate(rows):
        if row == ROWS:
            continue  # none: whatever is there
        at = divmod(row, EPISODES)
        last = int(before.length[at]) - 1
        assert taken.slot[line] == last and taken.token[line] == before.tokens[at][last]
        for axis in range(3):
            assert taken.position[axis, line] == before.positions[axis][at][last]
        for kept, whole in zip(*map(jax.tree.leaves, (taken.cache, before.cache)), strict=True):
            np.testing.assert_array_equal(kept[line, :, 0], whole[at[0], :, at[1]])
        for kept, whole in zip(*map(jax.tree.leaves, (taken.prefix, before.prefix)), strict=True):
            np.testing.assert_array_equal(kept[line], whole[at[0]])


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
