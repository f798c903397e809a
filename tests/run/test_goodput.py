"""Goodput is the share of time in steps: what is compiled in them does not count."""

from r3jax.compiles import CompileCounter
from r3jax.run.goodput import Goodput


def test_waiting_and_compiling_are_no_use():
    clock, compiles = [100.0], CompileCounter()
    found = Goodput(compiles, lambda: clock[0])
    clock[0] += 30  # restoring, warming up
    found.begin()
    clock[0] += 10
    compiles.seconds += 4
    assert found.end() == 6 / 40
    clock[0] += 20  # a checkpoint
    compiles.seconds += 3  # between steps
    found.begin()
    clock[0] += 20
    assert found.end() == 26 / 80
