"""A step of the optimizer, as pure functions of state and batch: at once, or by micro-batches.

`step` is gradient and update in one program. `zeros`, `add` for each micro-batch and `apply` do the
same in less memory: what a micro-batch keeps for its gradient is gone before the next one begins.
Losses are sums over what a whole step divides by (`batches.Totals`), so that both ways give the
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
    leaves, tree = jax.tree.flatten(params)

    def of_changing(chosen: list[Array]):
        merged = iter(chosen)
        pairs = zip(leaves, optimizer.changes, strict=True)
        every = [next(merged) if changes else leaf for leaf, changes in pairs]
        return loss(tree.unflatten(every), *batch)

    return jax.grad(of_changing, has_aux=True)(changing(optimizer, params))


def zeros(optimizer: Optimizer, params: dict) -> Gradient:
    """The gradient of no micro-batch."""
    return [jnp.zeros_like(leaf) for leaf in changing(optimizer, params)]


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
    leaves, tree = jax.tree.flatten(state.params)
    merged = iter(found)
    # Leaves that never change have a gradient for the optimizer's sake: nothing computes with it.
    pairs = zip(leaves, optimizer.changes, strict=True)
    every = [next(merged) if changes else jnp.zeros_like(leaf) for leaf, changes in pairs]
    updates, opt_state = optimizer.update(tree.unflatten(every), state.opt_state, state.params)
    state = TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1)
    return state, {**merge(stats), "grad_norm": optax.global_norm(found)}


def changing(optimizer: Optimizer, params: dict) -> list[Array]:
    """The leaves that the optimizer changes."""
    pairs = zip(jax.tree.leaves(params), optimizer.changes, strict=True)
    return [leaf for leaf, changes in pairs if changes]


def merge(stats: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Statistics of a step from those of its micro-batches: their sum, or the largest.

    >>> merge([{"loss": 0.25, "entropy": 2.0}, {"loss": 0.5, "entropy": 1.0}])
    {'loss': 0.75, 'entropy': 3.0}
    """
    how = {name: jnp.maximum if name in LARGEST else operator.add for name in stats[0]}
    return {name: functools.reduce(how[name], (one[name] for one in stats)) for name in how}
