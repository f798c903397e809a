"""Shared prefix: a group computed with its prompt once equals its episodes computed one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import patches, positions
from r3jax.update import forward
from tests import tiny

TEMPERATURE = 0.7
LENGTH = 144  # one whole sequence, padded


@functools.cache
def taught():
    """Two prompts of different lengths, each with two episodes of different lengths."""
    pairs = [(tiny.trace(0), tiny.bad_trace(0)), (tiny.trace(2), tiny.two_look_trace(2))]
    made = [[tiny.teach(one) for one in pair] for pair in pairs]
    prompts = [pair[0][0] for pair in made]
    episodes = [[episode for _, episode in pair] for pair in made]
    assert len({len(p.tokens) for p in prompts}) == 2
    assert len({len(e.tokens) for pair in episodes for e in pair}) == 4
    return prompts, episodes


def everything_trained(rows=1):
    """The groups packed, with every token trained: its log-prob and gradient count."""
    batch = tiny.pack(*taught(), rows=rows)
    return batch._replace(suffix=batch.suffix._replace(trained=batch.suffix.valid))


def sampleable(episode) -> np.ndarray:
    """Targets whose log-prob means something: the others may not be sampled."""
    return tiny.allowed()[episode.tokens]


@functools.cache
def weights(shape) -> np.ndarray:
    """A weight a token, so that every token's gradient counts."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@functools.cache
def together():
    """Log-probs [B, G, T] and the gradient of their weighted sum, prefix computed once."""
    batch = everything_trained()

    def total(params):
        features = forward.encode(tiny.model(), params, batch.shown, rows=1, trained=True)
        scores = forward.score_tokens(
            tiny.model(), params, batch.prompt, batch.suffix, batch.stream, features,
            jnp.asarray(tiny.allowed()), TEMPERATURE, chunk=100,
        )  # fmt: skip
        used = batch.suffix.valid & tiny.allowed()[batch.suffix.targets]
        weighed = jnp.where(used, scores.logp * weights(scores.logp.shape), 0)
        return weighed.sum(), scores.logp

    (_, logp), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(tiny.params())
    return np.asarray(logp), gradient


def whole_sequence(prompt, episode):
    """One sequence [1, LENGTH] without any prefix: tokens, positions, mask, features, images."""
    tokens = np.concatenate([prompt.tokens, episode.tokens])
    shown = (*prompt.images, *episode.crops)
    grids = [patches.merged_grid(image.shape) for image in shown]
    where, _ = positions.rope_index(tokens, grids, tiny.tk().ids.image_pad)
    images, index = patches.arrange([patches.patchify(i) for i in shown], grids, 3, 1, 64)
    feature_index = np.full(len(tokens), -1, np.int32)
    feature_index[tokens == tiny.tk().ids.image_pad] = np.concatenate(index)
    pad = (0, LENGTH - len(tokens))
    return (
        np.pad(tokens, pad)[None],
        np.pad(where, ((0, 0), pad))[:, None],
        (np.arange(LENGTH) < len(tokens))[None],
        np.pad(feature_index, pad, constant_values=-1)[None],
        images,
    )


@functools.cache
def one_by_one():
    """The same numbers by the plain model, and the sum of its gradients."""

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def total(params, sequence, weight):
        logits = tiny.model().apply({"params": params}, *sequence)[0, :-1] / TEMPERATURE
        logits = jnp.where(tiny.allowed()[None], logits, -1e30)
        logp = jnp.take_along_axis(jax.nn.log_softmax(logits), sequence[0][0, 1:, None], 1)[:, 0]
        return jnp.where(weight == 0, 0, logp * weight).sum(), logp

    prompts, episodes = taught()
    table, gradients = {}, []
    for b, prompt in enumerate(prompts):
        for g, episode in enumerate(episodes[b]):
            first, n = len(prompt.tokens) - 1, len(episode.tokens)
            weight = np.zeros(LENGTH - 1, np.float32)
            weight[first : first + n] = weights(together()[0].shape)[b, g, :n]
            weight[first : first + n] *= sampleable(episode)
            sequence = whole_sequence(prompt, episode)
            (_, logp), gradient = total(tiny.params(), sequence, weight)
            table[b, g] = np.asarray(logp)[first : first + n]
            gradients.append(gradient)
    return table, jax.tree.map(lambda *parts: sum(parts), *gradients)


def test_log_probs_of_a_group_equal_those_of_whole_sequences():
    logp, table = together()[0], one_by_one()[0]
    for (b, g), expected in table.items():
        used = sampleable(taught()[1][b][g])
        found = logp[b, g, : len(expected)]
        np.testing.assert_allclose(found[used], expected[used], rtol=1e-5)


def test_gradients_of_a_group_equal_those_of_whole_sequences():
    found = jax.tree_util.tree_leaves_with_path(together()[1])
    expected = jax.tree.leaves(one_by_one()[1])
    for (path, ours), theirs in zip(found, expected, strict=True):
        scale = np.abs(theirs).max()
        assert scale > 0, jax.tree_util.keystr(path)
        np.testing.assert_allclose(
            ours / scale, theirs / scale, atol=1e-5, err_msg=jax.tree_util.keystr(path)
        )


@functools.partial(jax.jit, static_argnums=0)
def scores(chunk: int, params, batch) -> forward.TokenScores:
    features = forward.encode(
        tiny.model(), params, batch.shown, batch.stream.place.shape[0], trained=False
    )
    return forward.score_tokens(
        tiny.model(), params, batch.prompt, batch.suffix, batch.stream, features,
        jnp.asarray(tiny.allowed()), TEMPERATURE, chunk,
    )  # fmt: skip


def test_the_logit_chunk_does_not_change_numbers():
    batch = everything_trained()
    valid = batch.suffix.valid
    for chunk in (7, 10**6):
        found = scores(chunk, tiny.params(), batch)
        np.testing.assert_allclose(found.logp[valid], together()[0][valid], rtol=1e-5, atol=1e-5)
        assert np.isfinite(found.logp).all() and (found.entropy[valid] > 0).all()


def test_only_chunks_with_trained_tokens_are_scored():
    batch = tiny.pack(*taught())
    trained = batch.suffix.trained & (np.arange(2)[:, None] == 0)  # of first episodes alone
    some = batch._replace(suffix=batch.suffix._replace(trained=trained))
    found, whole = (np.asarray(scores(8, tiny.params(), b).logp) for b in (some, batch))
    np.testing.assert_allclose(found[trained], whole[trained], rtol=1e-5, atol=1e-6)
    assert np.count_nonzero(found[~trained]) <= 8  # what fills the last chunk


def test_rows_of_a_stream_do_not_change_numbers():
    rows = everything_trained(rows=2)
    assert rows.stream.place.shape[0] == 2
    valid = rows.suffix.valid
    for chunk in (30, 10**6):
        found = scores(chunk, tiny.params(), rows).logp
        np.testing.assert_allclose(found[valid], together()[0][valid], rtol=1e-5, atol=1e-5)
