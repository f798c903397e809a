"""What packed groups teach: the SFT loss and the R-GRPO loss, as pure functions of parameters.

Both score the same packed groups with the same forward pass; only what is made of the scores
differs. SFT is the case of one episode a group, written by a teacher. Either is a sum over the
batch divided by totals of the whole step, so that losses of micro-batches add up to its loss.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.arrays import Array
from r3jax.batches import PromptBatch, SuffixBatch
from r3jax.model.qwen import Qwen25VL
from r3jax.model.stream import Stream
from r3jax.update import forward, objective
from r3jax.update.objective import Totals

AGGREGATIONS = {"sequence_mean": objective.sequence_mean, "token_mean": objective.token_mean}
RATIOS = {"token": objective.token_ratio, "sequence": objective.sequence_ratio}

LARGEST = frozenset({"sampler_gap"})
"""Statistics of which a step has the largest of its micro-batches'; others add up."""


class UpdateBatch(NamedTuple):
    """Packed groups: advantage float32 and counted bool [B, G] beside the padded tokens, what
    their images show, the stream that they are computed in, and what the step's means divide by:
    more than this batch's own tokens where the batch is one of several."""

    prompt: PromptBatch
    suffix: SuffixBatch
    stream: Stream
    shown: forward.Shown
    advantage: Array
    counted: Array
    totals: Totals


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


def axes_of(batch: UpdateBatch) -> UpdateBatch:
    """The names of the axes of every array of a batch, as tuples (`r3jax/mesh.py`)."""

    def first(name: str) -> Callable[[Array], tuple]:
        return lambda array: (name, *(None,) * (np.ndim(array) - 1))

    groups, rows = first("groups"), first("rows")
    named = UpdateBatch(
        *(jax.tree.map(groups, part) for part in batch[:2]),
        *(jax.tree.map(rows, part) for part in batch[2:4]),
        *(groups(part) for part in batch[4:6]),
        objective.Totals((), ()),
    )
    return named._replace(
        prompt=named.prompt._replace(positions=(None, *named.prompt.tokens)),
        suffix=named.suffix._replace(positions=(None, *named.suffix.inputs)),
    )


def score(
    model: Qwen25VL, config: ForwardConfig, params, batch: UpdateBatch, allowed: Array
) -> forward.TokenScores:
    """Scores the packed groups under `params`: for the reference, and for the loss."""
    features = forward.encode(
        model, params, batch.shown, batch.stream.place.shape[0], config.train_vision
    )
    return score_features(model, config, params, batch, features, allowed)


def score_features(
    model: Qwen25VL, config: ForwardConfig, params, batch: UpdateBatch, features, allowed: Array
) -> forward.TokenScores:
    """As `score`, with the tables of features [R, F, D] that image tokens point into."""
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


def sft_loss(
    model: Qwen25VL, config: ForwardConfig, params, batch: UpdateBatch, allowed: Array
) -> tuple[Array, tuple[dict[str, Array], None]]:
    """The negative log-prob of SAMPLED (here: the teacher's) tokens, their mean over the step."""
    scores = score(model, config, params, batch, allowed)
    loss = objective.token_mean(-scores.logp, batch.suffix.trained, batch.counted, batch.totals)
    return loss, ({"loss": loss}, None)


def rgrpo_loss(
    model: Qwen25VL,
    forward_config: ForwardConfig,
    config: RgrpoConfig,
    params,
    batch: UpdateBatch,
    logp_old: Array | None,
    logp_reference: Array | None,
    allowed: Array,
) -> tuple[Array, tuple[dict[str, Array], Array]]:
    """The loss of region-conditioned group-relative policy optimisation, statistics, old log-probs.

    `logp_old` [B, G, T] is the policy before the first update on this batch, the denominator of
    the ratio; None in that first update, whose own log-probs are returned for the later ones.
    `logp_reference` is None where kl_coefficient is 0.
    """
    scores = score(model, forward_config, params, batch, allowed)
    old = jax.lax.stop_gradient(scores.logp) if logp_old is None else logp_old
    total, stats = policy_loss(config, scores, batch, old, logp_reference)
    return total, (stats, old)


def policy_loss(
    config: RgrpoConfig,
    scores: forward.TokenScores,
    batch: UpdateBatch,
    logp_old: Array,
    logp_reference: Array | None,
) -> tuple[Array, dict[str, Array]]:
    """The loss of scored episodes, and statistics of it, over counted episodes only."""
    counted, totals = batch.counted, batch.totals
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
        stats["kl"] = objective.token_mean(kl, mask, counted, totals)
    total = AGGREGATIONS[config.aggregation](per_token, mask, counted, totals)
    outside = (ratio < 1 - config.clip_low) | (ratio > 1 + config.clip_high)
    gap = jnp.where(mask, jnp.abs(logp_old - sampled), 0.0)
    stats |= {
        "loss": total,
        "entropy": objective.token_mean(scores.entropy, mask, counted, totals),
        "clip_share": objective.token_mean(outside.astype(jnp.float32), mask, counted, totals),
        "sampler_gap": gap.max(),  # largest |update's log-prob - sampler's|
    }
    return total, stats
