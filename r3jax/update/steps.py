"""One update, as a pure function of state and batch: the SFT step and the R-GRPO step.

Both score the same packed groups with the same forward pass; only the loss differs. SFT is the
case of one episode a group, written by a teacher.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array
from r3jax.batches import PromptBatch, SuffixBatch
from r3jax.model.qwen import Qwen25VL
from r3jax.model.stream import Stream
from r3jax.update import forward, objective
from r3jax.update.state import TrainState

AGGREGATIONS = {"sequence_mean": objective.sequence_mean, "token_mean": objective.token_mean}
RATIOS = {"token": objective.token_ratio, "sequence": objective.sequence_ratio}


class UpdateBatch(NamedTuple):
    """Packed groups: advantage float32 and counted bool [B, G] beside the padded tokens, what
    their images show, and the stream that they are computed in."""

    prompt: PromptBatch
    suffix: SuffixBatch
    stream: Stream
    shown: forward.Shown
    advantage: Array
    counted: Array


@dataclasses.dataclass(frozen=True)
class ForwardConfig:
    """How episodes are scored: at which temperature, how many tokens have logits at a time,
    whether the vision tower learns."""

    temperature: float = 1.0
    logit_chunk: int = 1024
    train_vision: bool = False


@dataclasses.dataclass(frozen=True)
class RgrpoConfig:
    """The R-GRPO loss.

    `kl_coefficient` 0 switches the reference off altogether; `importance_limit` 0 switches
    truncated importance sampling off.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coefficient: float = 0.0
    aggregation: str = "sequence_mean"
    ratio: str = "token"
    importance_limit: float = 0.0

    def __post_init__(self):
        for name, table in (("aggregation", AGGREGATIONS), ("ratio", RATIOS)):
            if getattr(self, name) not in table:
                raise ValueError(
                    f"{name} must be one of {sorted(table)}, found {getattr(self, name)!r}"
                )


def score(
    model: Qwen25VL, config: ForwardConfig, params, batch: UpdateBatch, allowed: Array
) -> forward.TokenScores:
    """Scores the packed groups under `params`: for the reference, and for the loss."""
    features = forward.encode(model, params, batch.shown, config.train_vision)
    return forward.score_tokens(
        model,
        params,
        batch.prompt,
        batch.suffix,
        batch.stream,
        features,
        allowed,
        config.temperature,
        config.logit_chunk,
    )


def sft_step(
    model: Qwen25VL,
    config: ForwardConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: UpdateBatch,
    allowed: Array,
) -> tuple[TrainState, dict[str, Array]]:
    """One step of maximum likelihood on SAMPLED (here: the teacher's) tokens."""

    def loss(params):
        scores = score(model, config, params, batch, allowed)
        trained, counted = batch.suffix.trained, batch.counted
        nll = objective.token_mean(-scores.logp, trained, counted)
        return nll, ({"loss": nll}, None)

    state, (stats, _) = _apply(loss, optimizer, state)
    return state, stats


def rgrpo_step(
    model: Qwen25VL,
    forward_config: ForwardConfig,
    config: RgrpoConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: UpdateBatch,
    logp_old: Array | None,
    logp_reference: Array | None,
    allowed: Array,
) -> tuple[TrainState, dict[str, Array], Array]:
    """One step of region-conditioned group-relative policy optimisation.

    `logp_old` [B, G, T] is the policy before the first update on this batch, the denominator of
    the ratio; None in that first update, whose own log-probs are returned for the later ones.
    `logp_reference` is None where kl_coefficient is 0.
    """

    def loss(params):
        scores = score(model, forward_config, params, batch, allowed)
        old = jax.lax.stop_gradient(scores.logp) if logp_old is None else logp_old
        total, stats = rgrpo_loss(config, scores, batch, old, logp_reference)
        return total, (stats, old)

    state, (stats, old) = _apply(loss, optimizer, state)
    return state, stats, old


def rgrpo_loss(
    config: RgrpoConfig,
    scores: forward.TokenScores,
    batch: UpdateBatch,
    logp_old: Array,
    logp_reference: Array | None,
) -> tuple[Array, dict[str, Array]]:
    """The loss of scored episodes, and statistics of it, over counted episodes only."""
    counted = batch.counted
    mask = batch.suffix.trained & counted[..., None]
    ratio = RATIOS[config.ratio](scores.logp, logp_old, mask)
    per_token = objective.clipped_loss(ratio, batch.advantage, config.clip_low, config.clip_high)
    sampled = batch.suffix.logp_sampled
    if config.importance_limit:
        limit = config.importance_limit
        per_token *= objective.importance_weight(logp_old, sampled, mask, limit)
    stats = {}
    if config.kl_coefficient:
        kl = objective.k3(scores.logp, logp_reference, mask)
        per_token = per_token + config.kl_coefficient * kl
        stats["kl"] = objective.token_mean(kl, mask, counted)
    total = AGGREGATIONS[config.aggregation](per_token, mask, counted)
    outside = (ratio < 1 - config.clip_low) | (ratio > 1 + config.clip_high)
    gap = jnp.where(mask, jnp.abs(logp_old - sampled), 0.0)
    stats |= {
        "loss": total,
        "entropy": objective.token_mean(scores.entropy, mask, counted),
        "clip_share": objective.token_mean(outside.astype(jnp.float32), mask, counted),
        "sampler_gap": gap.max(),  # largest |update's log-prob - sampler's|
    }
    return total, stats


def _apply(loss, optimizer, state: TrainState) -> tuple[TrainState, tuple]:
    """`loss` returns a number and (statistics, anything); both come back beside the new state."""
    gradient, (stats, other) = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    stats["grad_norm"] = optax.global_norm(gradient)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), (stats, other)
