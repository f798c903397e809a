"""Log-probs of episodes: the prompt runs once, beside the G suffixes that see it.

Logits never exist for a whole batch: they are made, used and dropped chunk by chunk, and made again
for the gradient; only for tokens that are trained.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Bool, Float
from r3jax.batches import NO_FEATURE, PromptBatch, SuffixBatch
from r3jax.model.qwen import Qwen25VL
from r3jax.model.stream import Stream, move
from r3jax.patches import VisionBatch

Shown = tuple[VisionBatch, ...] | Array
"""What the image tokens of a batch show: images to encode, or features [R, F, D] that were kept.

Every row of the stream has images of its own: equally many rows of a `VisionBatch`.
"""


class TokenScores(NamedTuple):
    """float32 [B, G, T] each: log-prob of the target, entropy of its distribution (no gradient)."""

    logp: Array
    entropy: Array


def encode(
    model: Qwen25VL, params, shown: Shown, rows: int, trained: bool
) -> Float[Array, "R F D"]:
    """Returns the tables of features that image tokens point into, one for each of R `rows`.

    Where the tower is frozen (`trained` false) no gradient flows and none of it is kept for one.
    """
    if not isinstance(shown, tuple):
        return shown
    tables = [model.apply({"params": params}, batch, method="encode") for batch in shown]
    features = jnp.concatenate([t.reshape(rows, -1, t.shape[-1]) for t in tables], axis=1)
    return features if trained else jax.lax.stop_gradient(features)


def score_tokens(
    model: Qwen25VL,
    params,
    prompt: PromptBatch,
    suffix: SuffixBatch,
    stream: Stream,
    features: Float[Array, "R F D"],
    allowed: Bool[Array, "V"],
    temperature: float,
    chunk: int,
) -> TokenScores:
    """Scores trained targets under softmax(logits / temperature) over the allowed vocabulary.

    `chunk` is how many tokens of a row have logits at the same time. Targets that are not
    trained get finite numbers without meaning.
    """
    variables = {"params": params}
    tokens = stream.gather(prompt.tokens, suffix.inputs)
    index = stream.gather(prompt.feature_index, suffix.feature_index, fill=NO_FEATURE)
    positions = stream.gather(*(jnp.moveaxis(y.positions, 0, -1) for y in (prompt, suffix)))
    embed = functools.partial(model.apply, variables, method="embed")
    x = jax.vmap(embed)(tokens, index, features)
    positions = jnp.moveaxis(positions, -1, 0)
    hidden = model.apply(variables, x, positions, stream, method="run_packed")

    def score_chunk(hidden, targets):
        logits = model.apply(variables, hidden, method="logits") / temperature
        may = jnp.broadcast_to(allowed, logits.shape)
        masked = jnp.where(may, logits, -jnp.inf)
        total = jax.nn.logsumexp(masked, axis=-1)
        # Compared, not looked up: the gradient of a look-up is a scatter into as many zeros.
        ids = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
        is_target = ids == jnp.broadcast_to(targets[..., None], logits.shape)
        chosen = jnp.where(is_target, logits, 0.0).sum(-1)
        probability = jax.lax.stop_gradient(jnp.exp(masked - total[..., None]))
        expected = jnp.where(may, probability * logits, 0.0).sum(-1)
        return TokenScores(chosen - total, jax.lax.stop_gradient(total - expected))

    nothing = jnp.zeros(prompt.tokens.shape, jnp.int32)
    targets = stream.gather(nothing, suffix.targets)
    trained = stream.gather(nothing, suffix.trained.astype(jnp.int32)) > 0
    # Those that are trained come first: what comes after them is never computed.
    order = jnp.argsort(~trained, axis=1, stable=True).astype(jnp.int32)
    back = jnp.argsort(order, axis=1).astype(jnp.int32)
    first = order[:, : stream.suffix[0].size]  # prompts have no targets
    parts = [move(y, first, back) for y in (hidden, targets, trained)]
    scores = _in_chunks(score_chunk, *parts, chunk)
    return TokenScores(*(stream.spread(move(s, back, first))[1] for s in scores))


def _in_chunks(
    score_chunk: Callable, hidden: Array, targets: Array, trained: Array, chunk: int
) -> TokenScores:
    """Maps `score_chunk` over tokens [R, X], `chunk` of a row at a time, while any is trained."""
    rows, tokens = targets.shape
    if chunk >= tokens:  # made again, the logits of one chunk would take as much memory
        return score_chunk(hidden, targets)

    def cut(values):
        values = jnp.pad(values, [(0, 0), (0, -tokens % chunk)] + [(0, 0)] * (values.ndim - 2))
        return jnp.moveaxis(values.reshape(rows, -1, chunk, *values.shape[2:]), 1, 0)

    def skip(hidden, targets):
        return TokenScores(*(jnp.zeros(targets.shape, jnp.float32),) * 2)

    # Around the condition: within it, every chunk would keep a head of its own for the gradient.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def score(part):
        hidden, targets, trained = part
        return jax.lax.cond(trained.any(), score_chunk, skip, hidden, targets)

    scores = jax.lax.map(score, tuple(cut(y) for y in (hidden, targets, trained)))
    return TokenScores(*(jnp.moveaxis(s, 0, 1).reshape(rows, -1)[:, :tokens] for s in scores))
