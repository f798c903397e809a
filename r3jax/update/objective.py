"""The objectives, one short function each: advantages, policy losses, KL, aggregation.

All are over groups: rewards [B, G], per-token log-probs [B, G, T]. Departures from the published
VLM-R3: the ratio is a real one (several updates a rollout are possible), episodes that are not
counted leave mean and standard deviation as well as the loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax.arrays import Array, Bool, Float


def group_advantages(
    reward: np.ndarray, counted: np.ndarray, scale_by_std: bool = True, eps: float = 1e-4
) -> np.ndarray:
    """Returns (r - mean) / (std + eps) within each group, over counted episodes; 0 for the others.

    reward float [B, G], counted bool [B, G] -> float32 [B, G]. Without `scale_by_std` the
    difference from the mean is left as it is (Dr.GRPO).
    Source: VLM-R3 paper, group-relative advantage; std is the population's.
    """
    reward = np.where(counted, reward, 0.0).astype(np.float64)
    number = np.maximum(counted.sum(-1, keepdims=True), 1)
    mean = reward.sum(-1, keepdims=True) / number
    centred = np.where(counted, reward - mean, 0.0)
    if scale_by_std:
        centred = centred / (np.sqrt((centred**2).sum(-1, keepdims=True) / number) + eps)
    return centred.astype(np.float32)


def token_ratio(logp: Array, logp_old: Array, mask: Array) -> Float[Array, "B G T"]:
    """The probability ratio of each token, new over old."""
    return jnp.exp(jnp.where(mask, logp - logp_old, 0.0))


def sequence_ratio(logp: Array, logp_old: Array, mask: Array) -> Float[Array, "B G T"]:
    """GSPO's ratio: the geometric mean over the episode, the same at every token.

    The gradient of a token's log-prob is kept by the usual stop-gradient identity.
    Source: GSPO, token-level form.
    """
    difference = jnp.where(mask, logp - logp_old, 0.0)
    mean = difference.sum(-1, keepdims=True) / jnp.maximum(mask.sum(-1, keepdims=True), 1)
    whole = jax.lax.stop_gradient(jnp.exp(mean))
    return whole * jnp.exp(difference - jax.lax.stop_gradient(difference))


def clipped_loss(
    ratio: Float[Array, "B G T"],
    advantage: Float[Array, "B G"],
    clip_low: float,
    clip_high: float,
) -> Float[Array, "B G T"]:
    """The pessimistic of the plain and the clipped policy loss, per token.

    Source: PPO's surrogate with separate bounds (published VLM-R3 code: 0.2 and 0.28).
    """
    advantage = advantage[..., None]
    clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def k3(logp: Array, logp_reference: Array, mask: Array) -> Float[Array, "B G T"]:
    """The k3 estimate of KL(policy || reference): e^d - d - 1 with d = reference - policy."""
    difference = jnp.where(mask, logp_reference - logp, 0.0)
    return jnp.exp(difference) - difference - 1


def importance_weight(logp: Array, logp_sampled: Array, mask: Array, limit: float) -> Array:
    """Truncated importance sampling: how much likelier the update finds a token than the sampler.

    Corrects for samplers whose log-probs differ from the update's (other layout or precision).
    """
    difference = jnp.where(mask, logp - logp_sampled, 0.0)
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(difference), limit))


class Totals(NamedTuple):
    """What means over a step divide by, as float32 numbers: trained tokens of counted episodes, and
    counted episodes that have any. Micro-batches of a step have the same."""

    tokens: Array
    episodes: Array


def totals(*masks: Bool[np.ndarray, "B G T"]) -> Totals:
    """Totals of a step, from which tokens of each of its micro-batches are trained and counted."""
    return added([count(*masks)])


def count(*masks: Bool[np.ndarray, "B G T"]) -> tuple[int, int]:
    """How many tokens are trained and counted, and episodes that have any."""
    tokens = sum(int(mask.sum()) for mask in masks)
    return tokens, sum(int(mask.any(-1).sum()) for mask in masks)


def added(counts: Sequence[tuple[int, int]]) -> Totals:
    """Totals of a step, of the counts of its parts; never under 1, so that a mean over nothing is
    0."""
    return Totals(*(np.float32(max(sum(numbers), 1)) for numbers in zip(*counts)))


def sequence_mean(
    loss: Array, mask: Bool[Array, "B G T"], counted: Bool[Array, "B G"], totals: Totals
) -> Array:
    """Mean over the tokens of an episode, then over counted episodes of the step.

    Source: published VLM-R3 code.
    """
    mask = mask & counted[..., None]
    per_episode = jnp.where(mask, loss, 0.0).sum(-1) / jnp.maximum(mask.sum(-1), 1)
    return per_episode.sum() / totals.episodes


def token_mean(
    loss: Array, mask: Bool[Array, "B G T"], counted: Bool[Array, "B G"], totals: Totals
) -> Array:
    """Mean over all tokens of the step, so that long episodes weigh more."""
    mask = mask & counted[..., None]
    return jnp.where(mask, loss, 0.0).sum() / totals.tokens
