"""A group with its prompt computed once equals each sequence computed alone, gradients included.

Each prompt and suffix of the group is padded by another length; a single sequence has no padding
before its end.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import patches, positions
from r3jax.model import qwen
from tests.model import sequences
from tests.model.test_golden import tiny

B, G, P, S = 2, 2, 64, 48
PROMPTS = [([(5, 7)], 1), ([(2, 3), (1, 1)], 2)]  # tokens of each image (rows, columns), seed
SUFFIXES = [[([], 3), ([(4, 4)], 4)], [([(1, 2), (3, 1)], 5), ([], 6)]]


class GroupInputs(NamedTuple):
    """Prompts [B, P], suffixes [B, G, S], and the images of all of them."""

    tokens: tuple[np.ndarray, np.ndarray]
    positions: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    feature_index: tuple[np.ndarray, np.ndarray]
    images: patches.VisionBatch


def _draw(grids, seed):
    return [
        sequences.draw(28 * rows, 28 * columns, seed + i) for i, (rows, columns) in enumerate(grids)
    ]


def _parts(config):
    """Tokens and images of each prompt and of each suffix."""

    def part(grids, seed):
        images = _draw(grids, seed)
        return sequences.compose(images, config, seed), images

    return [part(*p) for p in PROMPTS], [[part(*s) for s in row] for row in SUFFIXES]


def _group_inputs(config) -> GroupInputs:
    prompts, suffixes = _parts(config)
    images = [i for _, images in prompts for i in images]
    images += [i for row in suffixes for _, images in row for i in images]
    batch, index = sequences.arrange(images, rows=3, windows=8)
    index = iter(index)
    shapes = (B, P), (B, G, S)
    out = GroupInputs(
        tuple(np.zeros(shape, np.int32) for shape in shapes),
        tuple(np.zeros((3, *shape), np.int32) for shape in shapes),
        tuple(np.zeros(shape, bool) for shape in shapes),
        tuple(np.full(shape, -1, np.int32) for shape in shapes),
        batch,
    )

    def fill(which, place, tokens, images, start):
        grids = [patches.merged_grid(image.shape) for image in images]
        position, end = positions.rope_index(tokens, grids, config.image_token_id, start)
        here = (*place, slice(len(tokens)))
        out.tokens[which][here] = tokens
        out.positions[which][(slice(None), *here)] = position
        out.valid[which][here] = True
        rows = [next(index) for _ in images]
        at = np.flatnonzero(tokens == config.image_token_id)
        out.feature_index[which][(*place, at)] = np.concatenate([*rows, np.zeros(0, np.int32)])
        return end

    ends = [fill(0, (b,), *prompts[b], 0) for b in range(B)]
    for b, g in np.ndindex(B, G):
        fill(1, (b, g), *suffixes[b][g], ends[b])
    return out


def _logprobs(logits, tokens):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)
    return picked[..., 0]


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
def _group(model, params, given: GroupInputs):
    """Sum of the log-probs of all suffix tokens, and the log-probs [B, G, S]."""

    policy = qwen.make_policy(model, params)

    def run(m):
        features = m.encode(given.images)
        prompt, suffix = (m.embed(*x, features) for x in zip(given.tokens, given.feature_index))
        hidden, prefix = m.prefill(prompt, given.positions[0], policy.layers, given.valid[0])
        last = given.valid[0].sum(-1) - 1
        last = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, None]
        seen = {"valid": given.valid[1], "prefix": prefix}
        out, _ = m.extend(suffix, given.positions[1], policy.layers, **seen)
        last = jnp.broadcast_to(last, (B, G, 1, last.shape[-1]))
        return m.logits(jnp.concatenate([last, out[:, :, :-1]], axis=2))

    logits = model.apply({"params": policy.params}, method=run)
    logp = jnp.where(given.valid[1], _logprobs(logits, given.tokens[1]), 0.0)
    return logp.sum(), logp


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
def _single(model, params, given: sequences.Inputs, in_suffix):
    """The same of one whole sequence: `in_suffix` [T] says which tokens count."""
    logits = model.apply({"params": params}, *given)[0]
    logp = jnp.where(in_suffix[1:], _logprobs(logits[:-1], given.tokens[0, 1:]), 0.0)
    return logp.sum(), logp


def _relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_log_probs_and_gradients_equal_those_of_each_sequence_alone():
    model, params = tiny("untied")
    prompts, suffixes = _parts(model.config)
    (_, logp), gradient = _group(model, params, _group_inputs(model.config))
    logp = np.asarray(logp)
    total = jax.tree.map(np.zeros_like, params)
    for b, g in np.ndindex(B, G):
        tokens = np.concatenate([prompts[b][0], suffixes[b][g][0]])
        images = prompts[b][1] + suffixes[b][g][1]
        given = sequences.inputs(tokens, images, model.config, length=P + S, windows=8)
        start = len(prompts[b][0])
        in_suffix = (np.arange(P + S) >= start) & (np.arange(P + S) < len(tokens))
        (_, alone), alone_gradient = _single(model, params, given, in_suffix)
        alone = np.asarray(alone)[start - 1 : len(tokens) - 1]
        assert _relative(logp[b, g, : len(alone)], alone) < 1e-5
        total = jax.tree.map(np.add, total, alone_gradient)
    errors = jax.tree.map(_relative, gradient, total)
    worst = max(jax.tree_util.tree_leaves_with_path(errors), key=lambda leaf: leaf[1])
    assert worst[1] < 1e-5, f"{jax.tree_util.keystr(worst[0])}: relative error {worst[1]}"
