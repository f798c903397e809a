"""Choosing a token, and the log-prob that is stored for it.

The stored log-prob is under softmax(logits / temperature) over the allowed vocabulary, which is
what the update computes; top-k and top-p narrow the choice only. Keys are folded from (seed, step,
question, episode, token), so an episode does not depend on what is decoded beside it.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r3jax.arrays import Array, Bool, Float, Int

BLOCK = 128  # tokens that are drawn together


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How tokens are chosen. temperature 0 is greedy; top_k 0 and top_p 1 switch those off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, found {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], found {self.top_p}")

    @property
    def logp_temperature(self) -> float:
        """The temperature of stored log-probs; that of greedy decoding is 1."""
        return self.temperature or 1.0


class Asked(NamedTuple):
    """How the tokens of each question [B] are chosen, where questions bring that along.

    temperature and top_p float32, as in a `SamplingConfig`; budget int32: how many slots a row of
    the question may fill.
    """

    temperature: Array
    top_p: Array
    budget: Array


def log_probs(
    logits: Float[Array, "*X V"], allowed: Bool[Array, "V"], temperature: float | Array
) -> Float[Array, "*X V"]:
    """The distribution that is sampled from and trained: float32, -inf where not allowed."""
    masked = jnp.where(jnp.broadcast_to(allowed, logits.shape), logits / temperature, -jnp.inf)
    return jax.nn.log_softmax(masked, axis=-1)


def sample(
    logits: Float[Array, "X V"],
    allowed: Bool[Array, "V"],
    keys: Array,
    config: SamplingConfig,
) -> tuple[Int[Array, "X"], Float[Array, "X"]]:
    """Returns a token for each row and its log-prob. `keys` is one key a row."""
    logp = log_probs(logits, allowed, config.logp_temperature)
    if config.temperature == 0:
        token = jnp.argmax(logp, axis=-1)
    else:
        token = _draw(_narrow(logp, config), keys)
    token = token.astype(jnp.int32)
    return token, jnp.take_along_axis(logp, token[:, None], axis=-1)[:, 0]


def sample_asked(
    logits: Float[Array, "X V"],
    allowed: Bool[Array, "V"],
    keys: Array,
    temperature: Float[Array, "X"],
    top_p: Float[Array, "X"],
) -> tuple[Int[Array, "X"], Float[Array, "X"]]:
    """As `sample`, each row in its own way. While all rows are greedy nothing is drawn, and while
    none has a top_p under 1 nothing is sorted: a row's token is the same whatever others ask."""
    drawn = temperature > 0
    logp = log_probs(logits, allowed, jnp.where(drawn, temperature, 1.0)[:, None])
    likeliest = jnp.argmax(logp, axis=-1)

    def narrow() -> Array:
        return jnp.where((top_p < 1)[:, None], _nucleus(logp, top_p[:, None]), logp)

    def draw() -> Array:
        narrowed = jax.lax.cond((drawn & (top_p < 1)).any(), narrow, lambda: logp)
        return jnp.where(drawn, _draw(narrowed, keys), likeliest)

    token = jax.lax.cond(drawn.any(), draw, lambda: likeliest).astype(jnp.int32)
    return token, jnp.take_along_axis(logp, token[:, None], axis=-1)[:, 0]


def _draw(logp: Float[Array, "X V"], keys: Array) -> Int[Array, "X"]:
    """Draws a token of each row: first a block of the vocabulary by its weight, then one in it.

    The token that is largest with Gumbel noise added is a draw (exactly, both times): noise for
    the blocks and for one of them is far less than for every token.
    """
    rows, tokens = logp.shape
    padded = jnp.pad(logp, [(0, 0), (0, -tokens % BLOCK)], constant_values=-jnp.inf)
    blocks = padded.reshape(rows, -1, BLOCK)
    number = blocks.shape[1]
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (number + BLOCK,)))(keys)
    block = jnp.argmax(jnp.log(jnp.exp(blocks).sum(-1)) + noise[:, :number], axis=-1)
    inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    return block * BLOCK + jnp.argmax(inside + noise[:, number:], axis=-1)


def _narrow(logp: Array, config: SamplingConfig) -> Array:
    """Removes what top-k and top-p leave out."""
    if config.top_k:
        kth = jax.lax.top_k(logp, min(config.top_k, logp.shape[-1]))[0][:, -1:]
        logp = jnp.where(logp >= kth, logp, -jnp.inf)
    return _nucleus(logp, config.top_p) if config.top_p < 1 else logp


def _nucleus(logp: Array, top_p: float | Array) -> Array:
    """Removes what top-p, one for all rows or of each [X, 1], leaves out."""
    ordered = jnp.sort(logp, axis=-1)[:, ::-1]
    # A token stays while the probability before it is below top_p: the first always stays.
    before = jnp.cumsum(jnp.exp(ordered), axis=-1) - jnp.exp(ordered)
    last = jnp.sum(before < top_p * jnp.exp(ordered).sum(-1, keepdims=True), axis=-1)
    threshold = jnp.take_along_axis(ordered, last[:, None] - 1, axis=-1)
    return jnp.where(logp >= threshold, logp, -jnp.inf)


def row_keys(
    seed: int | Array, step: int | Array, questions: Int[Array, "B"], episodes: int
) -> Array:
    """Returns keys [B, G] folded from (seed, step, question, episode)."""
    base = jax.random.fold_in(jax.random.key(seed), step)
    by_question = jax.vmap(lambda q: jax.random.fold_in(base, q))(questions)
    numbers = jnp.arange(episodes)
    return jax.vmap(lambda k: jax.vmap(lambda g: jax.random.fold_in(k, g))(numbers))(by_question)
