"""The pre-training step of a model from nothing: text, reading and dense supervision together."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array, Float
from r3jax.model.qwen import Qwen25VL
from r3jax.update import dense, objective
from r3jax.update.losses import ForwardConfig, UpdateBatch, score_features
from r3jax.update.state import Optimizer, TrainState

# Parts of the parameters: what is kept, and what is dropped.
MODEL, HEADS = "model", "heads"
VISION = "vision"  # in MODEL


class PretrainBatch(NamedTuple):
    """Two sizes of image, each in its own shapes, with the dense labels of their features.

    `scenes` asks about whole images, `prints` about enlarged small print; labels int32 [F].
    `named` int8 [F, W] says for scenes which of the alignment's words name what is there.
    """

    scenes: UpdateBatch
    scene_labels: Mapping[str, Array]
    named: Array
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
    optimizer: Optimizer,
    state: TrainState,
    batch: PretrainBatch,
    weights: Weights,
    words: Array,
    allowed: Array,
) -> tuple[TrainState, dict[str, Array]]:
    """One step of the weighted sum of the losses; the statistics name each.

    `words` int32 [W] are the token ids of the words that places are aligned with. Unless
    `config.train_vision`, the vision tower and the heads stay as they are, whatever the optimizer
    remembers of them.
    """

    def loss(params):
        return losses(model, config, params, batch, weights, words, allowed)

    gradient, stats = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    if not config.train_vision:
        updates = _without_vision(updates)
    stats["grad_norm"] = optax.global_norm(gradient)
    return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), stats


def losses(
    model: Qwen25VL,
    config: ForwardConfig,
    params: dict,
    batch: PretrainBatch,
    weights: Weights,
    words: Array,
    allowed: Array,
) -> tuple[Array, dict[str, Array]]:
    """Returns the weighted loss and statistics; "exact" is the share of answers all of whose
    tokens have a probability above one half, so that greedy decoding gives them."""
    parts, tables = {}, []
    for name, part in (("scenes", batch.scenes), ("prints", batch.prints)):
        features = model.apply({"params": params[MODEL]}, part.shown[0], method="encode")
        features = features if config.train_vision else jax.lax.stop_gradient(features)
        tables.append(features)
        # A stage that teaches only the vision tower does not pay for the decoder.
        parts[name], parts[f"exact/{name}"] = jax.lax.cond(
            getattr(weights, name) > 0,
            lambda features, part=part: _text(
                model, config, params[MODEL], part, features, allowed
            ),
            lambda _: (jnp.zeros(()), jnp.zeros(())),
            features,
        )
    total = weights.scenes * parts["scenes"] + weights.prints * parts["prints"]
    if config.train_vision:
        parts["dense"], accuracies = _supervise(params, batch, tables, words)
        total += weights.dense * parts["dense"]
        parts |= accuracies
    return total, {"loss": total, **parts}


def _supervise(
    params: dict, batch: PretrainBatch, tables: list[Array], words: Array
) -> tuple[Array, dict[str, Array]]:
    """What the vision tower is told directly: `tables` are the features of scenes and prints."""
    labels = jax.tree.map(
        lambda *parts: jnp.concatenate(parts), dict(batch.scene_labels), dict(batch.print_labels)
    )
    loss, accuracies = dense.loss(params[HEADS], jnp.concatenate(tables), labels)
    embeddings = params[MODEL]["text"]["embed"]["embedding"][words]
    aligned, shares = dense.alignment(tables[0], embeddings, batch.named)
    return loss + aligned, accuracies | shares


def _without_vision(updates: dict) -> dict:
    """Updates that leave the vision tower and the heads alone."""
    model = updates[MODEL]
    still = jax.tree.map(jnp.zeros_like, {VISION: model[VISION], HEADS: updates[HEADS]})
    return {MODEL: {**model, VISION: still[VISION]}, HEADS: still[HEADS]}


def _text(
    model: Qwen25VL,
    config: ForwardConfig,
    params: dict,
    batch: UpdateBatch,
    features: Float[Array, "F D"],
    allowed: Array,
) -> tuple[Array, Array]:
    """The loss of the answers, and the share of them that greedy decoding gives."""
    scores = score_features(model, config, params, batch, features[None], allowed)
    trained = batch.suffix.trained
    certain = jnp.where(trained, scores.logp > jnp.log(0.5), True).all(-1)
    nll = objective.token_mean(-scores.logp, trained, batch.counted, batch.totals)
    return nll, certain.mean()
