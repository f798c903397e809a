"""Comparisons are fair and say so where they are not: turns, noise, a side that dies."""

import json

import pytest

from benchmarks.side import Side
from benchmarks.table import Result, Row
from benchmarks.timing import Repetition, Timing, alternate

QUIET, NOISY = Repetition(1.0, 3), Repetition(4.0, 4000)


def calls(log, name, answers):
    answers = iter(answers)

    def call():
        log.append(name)
        return next(answers)

    return call


def test_sides_take_turns_and_the_first_call_of_each_only_warms_up():
    log = []
    first = [Repetition(9.0, 0)]
    sides = {
        name: calls(log, name, first + [Repetition(s, 0) for s in seconds])
        for name, seconds in {"a": (2.0, 1.0, 3.0), "b": (5.0, 5.0, 5.0)}.items()
    }
    found = alternate(sides, repetitions=3)
    assert log == ["a", "b"] * 4
    assert found["a"].seconds == (1.0, 2.0, 3.0) and found["a"].median == 2.0


def test_interrupted_repetitions_are_dropped_counted_and_made_up_for():
    sides = {"a": calls([], "a", [QUIET, NOISY, QUIET, QUIET]), "b": calls([], "b", [QUIET] * 4)}
    found = alternate(sides, repetitions=2)
    assert found["a"] == Timing((1.0, 1.0), dropped=1)
    assert found["b"].dropped == 0 and len(found["b"].seconds) == 3


def test_where_all_is_noise_everything_counts_and_the_table_says_so():
    sides = {name: calls([], name, [NOISY] * 7) for name in ("peer", "r3jax")}
    found = alternate(sides, repetitions=2)
    assert found["r3jax"].noisy and len(found["r3jax"].seconds) == 6
    assert "noisy" in Result("T", (Row("w", found, 8, "tokens"),), {}, {}).markdown()


def test_table_and_json_say_how_many_times_as_fast_we_are():
    timings = {"peer": Timing((4.0, 5.0, 9.0), dropped=2), "r3jax": Timing((2.0, 2.0, 2.0))}
    row = Row("prefill", timings, 100, "tokens")
    result = Result("Plain", (row,), {"prefill": row.ratio("peer")}, {"jax": "0.10"})
    assert (
        "| prefill | peer | 5.000 (4.000-9.000) | 20 tokens/s | 2.50x as fast |"
        in result.markdown()
    )
    assert "2 repetitions were dropped" in result.markdown()
    read = json.loads(result.json())
    assert read["prefill"] == 2.5 and read["seconds"]["prefill"]["peer"]["max"] == 9.0


def add(first: int, second: int):
    """What a side is made of: something to say about itself, and work by name."""

    def fail():
        raise ValueError("no such work")

    return {"sum": first + second}, {"sleep": lambda: sum(range(10**6)), "fail": fail}


def test_a_side_works_in_its_own_process_and_its_errors_arrive_here():
    arguments = {"first": 2, "second": 3}
    with Side("tests.benchmarks.test_timing", "add", arguments) as side:
        assert side.about == {"sum": 5}
        assert 0 < side.call("sleep").seconds < 60
        with pytest.raises(RuntimeError, match=r"test_timing\.add: ValueError: no such work"):
            side.call("fail")
    with pytest.raises(RuntimeError, match="missing 1 required positional argument"):
        Side("tests.benchmarks.test_timing", "add", {"first": 2})
