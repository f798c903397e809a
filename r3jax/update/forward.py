"""Log-probs of episodes: the prompt runs once, its G suffixes run against it.

Logits never exist for a whole sequence: they are made, used and dropped chunk by chunk, and made
again for the gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Bool, Float
from r3jax.batches import PromptBatch, SuffixBatch
from r3jax.model.qwen import Qwen25VL
from r3jax.patches import VisionBatch


class TokenScores(NamedTuple):
    """float32 [B, G, T] each: log-prob of the target, entropy of its distribution (no gradient)."""

    logp: Array
    entropy: Array


def encode(
    model: Qwen25VL, params, images: VisionBatch, crops: VisionBatch, trained: bool
) -> Float[Array, "F D"]:
    """Returns the features of prompts' images followed by the crops'.

    Where the tower is frozen (`trained` false) no gradient flows and none of it is kept for one.
    """
    tables = [model.apply({"params": params}, batch, method="encode") for batch in (images, crops)]
    features = jnp.concatenate(tables)
    return features if trained else jax.lax.stop_gradient(features)


def score_tokens(
    model: Qwen25VL,
    params,
    prompt: PromptBatch,
    suffix: SuffixBatch,
    features: Float[Array, "F D"],
    allowed: Bool[Array, "V"],
    temperature: float,
    chunk: int,
) -> TokenScores:
    """Scores every suffix target under softmax(logits / temperature) over the allowed vocabulary.

    `chunk` is how many tokens of the batch have logits at the same time. Targets that are not
    trained get finite numbers without meaning.
    """
    variables = {"params": params}
    x = model.apply(variables, prompt.tokens, prompt.feature_index, features, method="embed")
    _, prefix = model.apply(variables, x, prompt.positions, prompt.mask, method="prefill")
    x = model.apply(variables, suffix.inputs, suffix.feature_index, features, method="embed")
    hidden, _ = model.apply(
        variables, x, suffix.positions, valid=suffix.valid, prefix=prefix, method="decode"
    )

    def score_chunk(hidden, targets):
        logits = model.apply(variables, hidden, method="logits") / temperature
        masked = jnp.where(allowed[None], logits, -jnp.inf)
        total = jax.nn.logsumexp(masked, axis=-1)
        chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        probability = jax.lax.stop_gradient(jnp.exp(masked - total[:, None]))
        expected = jnp.where(allowed[None], probability * logits, 0.0).sum(-1)
        return TokenScores(chosen - total, jax.lax.stop_gradient(total - expected))

    scores = _in_chunks(jax.checkpoint(score_chunk), hidden, suffix.targets, chunk)
    return TokenScores(*(s.reshape(suffix.targets.shape) for s in scores))


def _in_chunks(score_chunk, hidden: Array, targets: Array, chunk: int) -> TokenScores:
    """Maps `score_chunk` over the tokens of a batch, `chunk` at a time."""
    tokens, width = targets.size, hidden.shape[-1]
    chunk = min(chunk, tokens)
    pad = -tokens % chunk
    hidden = jnp.pad(hidden.reshape(tokens, width), ((0, pad), (0, 0)))
    targets = jnp.pad(targets.reshape(tokens), (0, pad))
    scores = jax.lax.map(
        lambda pair: score_chunk(*pair),
        (hidden.reshape(-1, chunk, width), targets.reshape(-1, chunk)),
    )
    return TokenScores(*(s.reshape(-1)[:tokens] for s in scores))
