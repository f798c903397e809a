"""The jitted programs of a step of the optimizer, on a batch at once or by micro-batches."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from r3jax.run import warm
from r3jax.update import steps
from r3jax.update.state import Optimizer, TrainState


class Learner:
    """Updates a state by a loss (`steps.Loss`) with an optimizer.

    `step` alone runs where a step is one batch; else `zeros`, `add` for each micro-batch, `apply`.
    Each gives the memory of what it changes to its result.
    """

    def __init__(self, loss: steps.Loss, optimizer: Optimizer):
        self._step = jax.jit(functools.partial(steps.step, loss, optimizer), donate_argnums=0)
        self._zeros = jax.jit(functools.partial(steps.zeros, optimizer))
        self._add = jax.jit(functools.partial(steps.add, loss, optimizer), donate_argnums=0)
        self._apply = jax.jit(functools.partial(steps.apply, optimizer), donate_argnums=0)

    def update(
        self, state: TrainState, micro_batches: Sequence[tuple]
    ) -> tuple[TrainState, dict[str, jax.Array], list[Any]]:
        """One step on micro-batches, each what the loss takes after the parameters.

        Returns the state, statistics of the step, and what else the loss gave for each.
        """
        if len(micro_batches) == 1:
            state, stats, other = self._step(state, *micro_batches[0])
            return state, stats, [other]
        total, stats, others = self._zeros(state.params), [], []
        for batch in micro_batches:
            total, found, other = self._add(total, state.params, *batch)
            stats.append(found)
            others.append(other)
        return *self._apply(state, total, stats), others

    def compile(self, state: TrainState, number: int, batches: Iterable[tuple]) -> None:
        """Compiles what a step of `number` micro-batches runs, for each of these shapes."""
        if number == 1:
            for batch in batches:
                warm.compile_for(self._step, state, *batch)
            return
        total = warm.compile_for(self._zeros, state.params)
        for batch in batches:
            _, stats, _ = warm.compile_for(self._add, total, state.params, *batch)
        warm.compile_for(self._apply, state, total, [stats] * number)
