"""The pre-training step of a model from nothing: text, reading and dense supervision together."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array
from r3jax.model.qwen import Qwen25VL
from r3jax.update import dense, forward, objective
from r3jax.update.state import TrainState
from r3jax.update.steps import ForwardConfig, UpdateBatch

MODEL, HEADS = "model", "heads"  # parts of the parameters: what is kept, and what is dropped


class PretrainBatch(NamedTuple):
    """Two sizes of image, each in its own shapes, with the dense labels of their features.

    `scenes` asks about whole images, `prints` about enlarged small print; labels int32 [F].
    """

    scenes: UpdateBatch
    scene_labels: Mapping[str, Array]
    prints: UpdateBatch
    print_labels: Mapping[str, Array]


class Weights(NamedTuple):
    """How much each loss counts, as float32 numbers: text about scenes, reading, dense heads."""

    scenes: Array
    prints: Array
    dense: Array


def pretrain_step(
    model: Qwen25VL,
    config: ForwardConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: PretrainBatch,
    weights: Weights,
    allowed: Array,
) -> tuple[TrainState, dict[str, Array]]:
    """One step of the weighted sum of the losses; the statistics name each."""

    def loss(params):
        return losses(model, config, params, batch, weights, allowed)

    gradient, stats = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    stats["grad_norm"] = optax.global_norm(gradient)
    return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), stats


def losses(model, config, params, batch: PretrainBatch, weights: Weights, allowed: Array):
    """Returns the weighted loss and statistics; "exact" is the share of answers all of whose
    tokens have a probability above one half, so that greedy decoding gives them."""
    parts, tables = {}, []
    for name, part in (("scenes", batch.scenes), ("prints", batch.prints)):
        features = model.apply({"params": params[MODEL]}, part.images, method="encode")
        tables.append(features)
        scores = forward.score_tokens(
            model,
            params[MODEL],
            part.prompt,
            part.suffix,
            features,
            allowed,
            config.temperature,
            config.logit_chunk,
        )
        trained = part.suffix.trained
        parts[name] = objective.token_mean(-scores.logp, trained, part.counted)
        certain = jnp.where(trained, scores.logp > jnp.log(0.5), True).all(-1)
        parts[f"exact/{name}"] = certain.mean()
    labels = jax.tree.map(
        lambda *parts: jnp.concatenate(parts), dict(batch.scene_labels), dict(batch.print_labels)
    )
    parts["dense"], accuracies = dense.loss(params[HEADS], jnp.concatenate(tables), labels)
    total = (
        weights.scenes * parts["scenes"]
        + weights.prints * parts["prints"]
        + weights.dense * parts["dense"]
    )
    return total, {"loss": total, **parts, **accuracies}
