"""Slices by name, and how fast rings through them are."""

import doctest

import pytest

from r3jax.plan import chips, hlo


def test_the_examples_in_the_text_hold():
    assert doctest.testmod(chips).attempted and doctest.testmod(hlo).attempted
    assert doctest.testmod(chips).failed == doctest.testmod(hlo).failed == 0


@pytest.mark.parametrize(
    "name, message",
    [
        ("v9:2x2", "expected one of v4, v5e, v5p, v6e"),
        ("v5e", "expected the chips along 2 axes of v5e, as in v5e:2x2"),
        ("v5p:2x2", "expected the chips along 3 axes of v5p, as in v5p:2x2x2"),
        ("v5e:4x0", "along 2 axes"),
    ],
)
def test_a_topology_that_is_none_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        chips.slice_of(name)


def test_rings_go_along_every_axis_that_a_group_reaches_and_both_ways_where_they_close():
    cube, half = chips.slice_of("v5p:4x4x8"), chips.slice_of("v5p:4x4x2")
    link = cube.chip.link
    row = [(x, 0, 0) for x in range(4)]
    assert cube.bandwidth(row) == 2 * link  # the ring closes over a whole axis
    assert cube.bandwidth(row[:2]) == link
    assert half.bandwidth(row) == link  # of three axes none closes unless all do
    everything = [(x, y, z) for x in range(4) for y in range(4) for z in range(2)]
    assert half.bandwidth(everything) == 3 * link
    assert cube.bandwidth([(1, 1, 1)]) == link
    wide = chips.slice_of("v5e:4x16")
    assert wide.rings([(x, y) for x in range(4) for y in range(16)]) == [(4, False), (16, True)]
