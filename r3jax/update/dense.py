"""Dense supervision of the vision tower: what stands in each image token, told directly.

More losses for pre-training a model from nothing, where captions alone leave it on a plateau.
Linear heads classify every feature by each attribute; they are trained beside the model and
dropped at export. Alignment pulls the feature of a place towards the embeddings of the words that
name it, so that a decoder can find a place by its words from the start.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array, Float, Int

IGNORED = -1
MARGIN = 3.0  # dot product at which a word is as likely as not to name a feature


def init_heads(key: Array, width: int, classes: Mapping[str, int]) -> dict:
    """Returns a linear head for each attribute: `classes` maps its name to how many values."""
    keys = jax.random.split(key, len(classes))
    return {
        name: {
            "kernel": jax.random.normal(k, (width, count)) * width**-0.5,
            "bias": jnp.zeros((count,)),
        }
        for k, (name, count) in zip(keys, sorted(classes.items()))
    }


def loss(
    heads: dict, features: Float[Array, "F D"], labels: Mapping[str, Int[Array, "F"]]
) -> tuple[Array, dict[str, Array]]:
    """Mean cross-entropy over attributes, and the accuracy of each on labelled features.

    Labels are class numbers, -1 where a feature has none. Classes are weighted equally within a
    batch between "nothing" (class 0) and something, since most tokens show nothing.
    """
    total, stats = 0.0, {}
    for name, label in labels.items():
        logits = features.astype(jnp.float32) @ heads[name]["kernel"] + heads[name]["bias"][None]
        known = label != IGNORED
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(label, 0))
        something = known & (label > 0)
        right = jnp.argmax(logits, -1) == label
        total += sum(_mean(nll, part) for part in (something, known & (label == 0)))
        stats[f"dense/{name}"] = _mean(right, something)
    return total / (2 * len(labels)), stats


def alignment(
    features: Float[Array, "F D"],
    embeddings: Float[Array, "W D"],
    named: Int[Array, "F W"],
) -> tuple[Array, dict[str, Array]]:
    """Binary cross-entropy of "this word names what is here" for every feature and word.

    Features are normalised as the decoder's first layer does: to be sure of a word, its direction
    must make up a good part of the whole feature, or attention could not find it. `named` is 1, 0,
    or -1 where a feature has no label. Yes and no are weighted equally, as most words name nothing.
    """
    wide = features.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-6)
    logits = wide @ embeddings.T - MARGIN
    nll = optax.sigmoid_binary_cross_entropy(logits, jnp.maximum(named, 0))
    yes, no = named == 1, named == 0
    total = (_mean(nll, yes) + _mean(nll, no)) / 2
    return total, {"alignment": _mean(logits > 0, yes), "alignment/false": _mean(logits > 0, no)}


def _mean(values: Array, where: Array) -> Array:
    return jnp.where(where, values, 0).sum() / jnp.maximum(where.sum(), 1)
