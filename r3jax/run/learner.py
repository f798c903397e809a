"""The jitted programs of a step of the optimizer, on a batch at once or by micro-batches."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax import shares
from r3jax.mesh import BATCH
from r3jax.model.config import ModelConfig
from r3jax.run import warm
from r3jax.shares import Share
from r3jax.update import placing, steps
from r3jax.update.losses import UpdateBatch
from r3jax.update.state import Optimizer, TrainState, init_state


class Learner:
    """Updates a state by a loss (`steps.Loss`) with an optimizer.

    `step` alone runs where a step is one batch; else `zeros`, `add` for each micro-batch, `apply`.
    Each gives the memory of what it changes to its result. On a `mesh` the state is split and the
    rows of batches, `rows` of them, are dealt to devices: `places` and `groups` are their
    shardings, `gradient` that of what learns, and `whole` that of what all have. A host packs
    `own_rows` of them, its `share`.
    """

    def __init__(
        self,
        loss: steps.Loss,
        optimizer: Optimizer,
        config: ModelConfig,
        mesh: Mesh | None = None,
        share: Share = shares.ALL,
    ):
        self.mesh, self.rows, self.share = mesh, 1, share
        self.groups = self.whole = self.gradient = None
        self.places = TrainState(None, None, None)
        if mesh is not None:
            self.rows = mesh_lib.shards(mesh)
            self.places = placing.of_state(config, optimizer, mesh)
            self.gradient, self.whole = optimizer.chosen(self.places.params), self.places.step
            self.groups = NamedSharding(mesh, PartitionSpec(BATCH))
        self.own_rows = self.rows // share.count
        state, groups, whole = self.places, self.groups, self.whole
        bound = functools.partial

        def program(function: Callable, *result, given: int | None = None):
            function = mesh_lib.on(mesh, function)
            return jax.jit(function, out_shardings=result, donate_argnums=given)

        self._init = jax.jit(
            bound(_init_beside, optimizer=optimizer), out_shardings=state._replace(params=None)
        )
        self._step = program(bound(steps.step, loss, optimizer), state, whole, groups, given=0)
        self._zeros = jax.jit(bound(steps.zeros, optimizer), out_shardings=self.gradient)
        self._add = program(
            bound(steps.add, loss, optimizer), self.gradient, whole, groups, given=0
        )
        self._apply = program(bound(steps.apply, optimizer), state, whole, given=0)

    def init(self, params: dict) -> TrainState:
        """The state before the first step, where steps expect it."""
        given = self.places.params
        params = jax.device_put(params) if given is None else shares.deal(params, given)
        return self._init(params)._replace(params=params)

    def shape_of_init(self, params: dict) -> TrainState:
        """The shapes of the state before the first step, of parameters or their shapes."""
        shapes = jax.eval_shape(self._init, params)._replace(params=jax.eval_shape(lambda: params))
        return shapes if self.mesh is None else mesh_lib.lying(shapes, self.places)

    def place_batch(self, batch: UpdateBatch) -> UpdateBatch:
        """This host's share of a batch, as the batch, where steps expect it."""
        places = None if self.mesh is None else placing.of_batch(batch, self.mesh)
        return shares.deal(batch, places, self.share)

    def shape_of(self, batch: UpdateBatch) -> UpdateBatch:
        """The shapes of a batch where steps expect it."""
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
        return (
            shapes
            if self.mesh is None
            else mesh_lib.lying(shapes, placing.of_batch(batch, self.mesh))
        )

    def logp_of(self, batch: UpdateBatch) -> jax.ShapeDtypeStruct:
        """The shape of a batch's log-probs, as steps return and take them."""
        shape = batch.suffix.targets.shape
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=self.groups)

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

    def programs(
        self, state: TrainState, number: int, batches: Iterable[tuple], take: warm.Take
    ) -> None:
        """Takes what a step of `number` micro-batches runs, for each of these shapes."""
        if number == 1:
            for batch in batches:
                take(f"update {warm.update_size(batch[0])}", self._step, state, *batch)
            return
        total = take("zeros", self._zeros, state.params)
        for batch in batches:
            name = f"gradient {warm.update_size(batch[0])}"
            _, stats, _ = take(name, self._add, total, state.params, *batch)
        take("apply", self._apply, state, total, [stats] * number)


def _init_beside(params: dict, optimizer: Optimizer) -> TrainState:
    """The state before the first step but for the parameters, which lie there already."""
    return init_state(params, optimizer)._replace(params=None)
