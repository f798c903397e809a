"""A step of the optimizer, as pure functions of state and batch: at once, or by micro-batches.

`step` is gradient and update in one program. `zeros`, `add` for each micro-batch and `apply` do the
same in less memory: what a micro-batch keeps for its gradient is gone before the next one begins.
Losses are sums over what a whole step divides by (`objective.Totals`), so that both ways give the
same gradient however tokens are dealt to micro-batches.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array
from r3jax.update.losses import LARGEST
from r3jax.update.state import Optimizer, TrainState

Loss = Callable[..., tuple[Array, tuple[dict[str, Array], Any]]]
"""From parameters, a batch and more to a number and (statistics, anything)."""

Gradient = list[Array]
"""Of the parameters that the optimizer changes, in the order of the tree: others have none."""


def step(
    loss: Loss, optimizer: Optimizer, state: TrainState, *batch
) -> tuple[TrainState, dict[str, Array], Any]:
    """One step on a whole batch: the new state, statistics, and what else the loss returns."""
    found, (stats, other) = gradient(loss, optimizer, state.params, *batch)
    return *apply(optimizer, state, found, [stats]), other


def gradient(
    loss: Loss, optimizer: Optimizer, params: dict, *batch
) -> tuple[Gradient, tuple[dict[str, Array], Any]]:
    """The gradient of the loss of a batch or micro-batch, its statistics and the rest."""

    def of_chosen(chosen: list[Array]):
        return loss(optimizer.merged(chosen, params), *batch)

    return jax.grad(of_chosen, has_aux=True)(optimizer.chosen(params))


def zeros(optimizer: Optimizer, params: dict) -> Gradient:
    """The gradient of no micro-batch."""
    return [jnp.zeros_like(leaf) for leaf in optimizer.chosen(params)]


def add(
    loss: Loss, optimizer: Optimizer, total: Gradient, params: dict, *batch
) -> tuple[Gradient, dict[str, Array], Any]:
    """Adds the gradient of a micro-batch to the `total` of others; its statistics and the rest."""
    found, (stats, other) = gradient(loss, optimizer, params, *batch)
    return [a + b for a, b in zip(total, found, strict=True)], stats, other


def apply(
    optimizer: Optimizer, state: TrainState, found: Gradient, stats: Sequence[dict[str, Array]]
) -> tuple[TrainState, dict[str, Array]]:
    """Changes parameters by the gradient of a whole step, whose micro-batches have these `stats`.

    Returns the new state and the statistics of the step.
    """
    # Leaves that never change have a gradient for the optimizer's sake: nothing computes with it.
    gradient = optimizer.merged(found, jax.tree.map(jnp.zeros_like, state.params))
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    state = TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1)
    return state, {**merge(stats), "grad_norm": optax.global_norm(found)}


def merge(stats: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Statistics of a step from those of its micro-batches: their sum, or the largest.

    >>> merge([{"loss": 0.25, "entropy": 2.0}, {"loss": 0.5, "entropy": 1.0}])
    {'loss': 0.75, 'entropy': 3.0}
    """
    how = {name: jnp.maximum if name in LARGEST else operator.add for name in stats[0]}
    return {name: functools.reduce(how[name], (one[name] for one in stats)) for name in how}
