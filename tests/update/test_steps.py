"""Steps: what is learnt from, what never is, and what stays as it was."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from r3jax.update import forward, losses, pack, state, steps
from tests import tiny

FORWARD = losses.ForwardConfig()


@functools.cache
def batch() -> losses.UpdateBatch:
    """Two groups of two episodes, with advantages; the last episode is not counted."""
    pairs = [(tiny.trace(0), tiny.bad_trace(0)), (tiny.trace(2), tiny.bad_trace(2))]
    made = [[tiny.teach(one) for one in pair] for pair in pairs]
    return tiny.pack(
        [pair[0][0] for pair in made],
        [[episode for _, episode in pair] for pair in made],
        advantage=[[1.0, -0.5], [0.7, 0.0]],
        counted=[[True, True], [True, False]],
    )


def change(**fields) -> losses.UpdateBatch:
    """The batch with other fields of its suffix."""
    return batch()._replace(suffix=batch().suffix._replace(**fields))


@functools.cache
def optimizer(learning_rate: float = 1e-2):
    return state.make_optimizer(state.OptimizerConfig(learning_rate), tiny.params())


@functools.cache
def scorer():
    return jax.jit(functools.partial(losses.score, tiny.model(), FORWARD))


@functools.cache
def logp_now() -> np.ndarray:
    """Log-probs of the batch under the starting parameters."""
    return np.asarray(scorer()(tiny.params(), batch(), tiny.allowed()).logp)


def fresh() -> state.TrainState:
    return state.init_state(tiny.params(), optimizer())


def sft_loss() -> steps.Loss:
    return functools.partial(losses.sft_loss, tiny.model(), FORWARD)


def rgrpo_loss(config: losses.RgrpoConfig) -> steps.Loss:
    return functools.partial(losses.rgrpo_loss, tiny.model(), FORWARD, config)


@functools.cache
def sft():
    return jax.jit(functools.partial(steps.step, sft_loss(), optimizer()))


@functools.cache
def _rgrpo(config: losses.RgrpoConfig):
    return jax.jit(functools.partial(steps.step, rgrpo_loss(config), optimizer()))


def rgrpo(one=None, old=None, reference=None, start=None, **config):
    """A step of R-GRPO on a batch: the state after it, its statistics, the old log-probs."""
    step = _rgrpo(losses.RgrpoConfig(**config))
    return step(start or fresh(), one or batch(), old, reference, tiny.allowed())


def distance(one, other) -> float:
    """The largest difference of two trees' leaves."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def test_sft_lowers_its_loss_and_leaves_the_frozen_tower():
    current, seen = fresh(), []
    for _ in range(6):
        current, stats, _ = sft()(current, batch(), tiny.allowed())
        seen.append(float(stats["loss"]))
    counted = batch().suffix.trained & batch().counted[..., None]
    np.testing.assert_allclose(seen[0], -logp_now()[counted].mean(), rtol=1e-5)
    assert seen[-1] < 0.7 * seen[0] and int(current.step) == 6
    assert distance(current.params["vision"], tiny.params()["vision"]) == 0
    assert distance(current.params["text"], tiny.params()["text"]) > 0
    moments = jax.tree.leaves(current.opt_state)
    text = sum(leaf.size for leaf in jax.tree.leaves(current.params["text"]))
    assert sum(leaf.size for leaf in moments if leaf.ndim) == 2 * text  # none for the tower


@pytest.mark.parametrize("step", [lambda b: sft()(fresh(), b, tiny.allowed())[:2],
                                  lambda b: rgrpo(b, logp_now())[:2]])  # fmt: skip
def test_only_sampled_tokens_of_counted_episodes_are_learnt_from(step):
    after, stats = step(batch())
    suffix = batch().suffix
    assert (suffix.valid & ~suffix.trained).any()
    idle = ~(suffix.trained & batch().counted[..., None])
    garbage = np.random.default_rng(0).integers(0, 256, suffix.targets.shape, np.int32)
    targets = np.where(idle, garbage, suffix.targets)
    inputs = suffix.inputs.copy()
    inputs[1, 1] = garbage[1, 1]  # the episode that is not counted
    other, other_stats = step(change(targets=targets, inputs=inputs))
    np.testing.assert_allclose(stats["loss"], other_stats["loss"], rtol=1e-6)
    assert distance(after.params, other.params) < 1e-5


def test_wild_ratios_of_uncounted_episodes_leave_everything_finite():
    old = logp_now().copy()
    old[1, 1] = -1e4
    after, stats, _ = rgrpo(old=old, reference=old, kl_coefficient=0.1)
    usual, usual_stats, _ = rgrpo(old=logp_now(), reference=logp_now(), kl_coefficient=0.1)
    assert distance(after.params, usual.params) == 0
    assert float(stats["loss"]) == float(usual_stats["loss"])


def test_the_first_update_has_ratio_1_and_the_next_a_real_one():
    mask = batch().suffix.trained & batch().counted[..., None]
    lengths = np.maximum(mask.sum(-1), 1)
    first, stats, old = rgrpo()
    np.testing.assert_allclose(old, logp_now(), atol=1e-5)
    # With ratio 1 the loss is minus the mean advantage over counted episodes.
    np.testing.assert_allclose(stats["loss"], -(1.0 - 0.5 + 0.7) / 3, rtol=1e-5)
    assert stats["clip_share"] == 0
    logp = np.asarray(scorer()(first.params, batch(), tiny.allowed()).logp)
    _, again, kept = rgrpo(old=old, start=first)
    ratio = np.exp(np.where(mask, logp - np.asarray(old), 0))
    A = batch().advantage[..., None]
    per_token = -np.minimum(ratio * A, np.clip(ratio, 0.8, 1.28) * A)
    expected = (np.where(mask, per_token, 0).sum(-1) / lengths)[batch().counted].mean()
    np.testing.assert_allclose(again["loss"], expected, rtol=1e-4)
    assert again["clip_share"] > 0 and float(again["loss"]) != float(stats["loss"])
    np.testing.assert_array_equal(kept, old)
    assert logp[0, 0][mask[0, 0]].mean() > logp_now()[0, 0][mask[0, 0]].mean()


def test_the_reference_is_used_where_it_has_a_weight_and_not_needed_otherwise():
    without, stats, _ = rgrpo(old=logp_now())
    assert "kl" not in stats
    reference = logp_now() + np.float32(0.5)
    pulled, stats, _ = rgrpo(old=logp_now(), reference=reference, kl_coefficient=0.1)
    np.testing.assert_allclose(stats["kl"], np.exp(0.5) - 1.5, rtol=1e-4)
    np.testing.assert_allclose(
        stats["loss"], -(1.0 - 0.5 + 0.7) / 3 + 0.1 * (np.exp(0.5) - 1.5), rtol=1e-4
    )
    assert distance(without.params, pulled.params) > 1e-4


def loss_of(scores, one=None, old=None, reference=None, **config):
    """The loss and statistics of given scores."""
    how = losses.RgrpoConfig(**config)
    return losses.policy_loss(how, scores, one or batch(), old, reference)


def test_a_truncated_importance_weight_scales_the_loss_of_each_token():
    scores = forward.TokenScores(jnp.asarray(logp_now()), jnp.ones(logp_now().shape))
    one = change(logp_sampled=logp_now() - np.float32(np.log(1.5)))
    for limit, weight in ((0.0, 1.0), (2.0, 1.5), (1.2, 1.2)):
        loss, stats = loss_of(scores, one, logp_now(), importance_limit=limit)
        np.testing.assert_allclose(loss, -weight * (1.0 - 0.5 + 0.7) / 3, rtol=1e-4)
        np.testing.assert_allclose(stats["sampler_gap"], np.log(1.5), rtol=1e-4)
        assert stats["entropy"] == 1


def test_forms_of_the_loss_weigh_tokens_and_ratios_their_own_way():
    mask = batch().suffix.trained & batch().counted[..., None]
    moved = np.where(np.arange(mask.shape[-1]) % 2, 0.1, -0.02).astype(np.float32)
    scores = forward.TokenScores(jnp.asarray(logp_now() + moved), jnp.ones(mask.shape))
    A, number = batch().advantage, mask.sum(-1)
    ratio = np.where(mask, np.exp(moved), 0.0)
    by_token = -(ratio.sum(-1) * A).sum() / number.sum()
    found, _ = loss_of(scores, old=logp_now(), aggregation="token_mean")
    np.testing.assert_allclose(found, by_token, rtol=1e-4)
    geometric = np.exp(np.where(mask, moved, 0).sum(-1) / np.maximum(number, 1))
    found, _ = loss_of(scores, old=logp_now(), ratio="sequence")
    np.testing.assert_allclose(found, -(geometric * A).sum() / 3, rtol=1e-4)


def micro_batches() -> list[losses.UpdateBatch]:
    """Three groups, each a micro-batch: episodes long and short, two and one that are counted."""
    asked = [(tiny.trace(0), tiny.two_look_trace(1)), (tiny.bad_trace(2),) * 2,
             (tiny.bad_trace(3), tiny.two_look_trace(4))]  # fmt: skip
    advantages = [[1.0, -0.5], [0.7, 0.0], [0.2, -1.3]]
    counted = [[True, True], [True, False], [True, True]]
    made = [[tiny.teach(one) for one in pair] for pair in asked]
    parts = [([pair[0][0]], [[e for _, e in pair]], [a], [c])
             for pair, a, c in zip(made, advantages, counted)]  # fmt: skip
    whole = [[one for part in column for one in part] for column in zip(*parts)]
    # One shape for all micro-batches.
    shapes = dataclasses.replace(tiny.BUCKETS, suffix_tokens=(128,), fill=(1.0,))
    packed = [tiny.pack(*part, shapes=shapes) for part in (whole, *parts)]
    return [packed[0], *pack.as_one_step(packed[1:])]


@pytest.mark.parametrize("form", ["sft", "sequence_mean", "token_mean"])
def test_micro_batches_add_up_to_the_step_whatever_their_lengths(form):
    whole, *parts = micro_batches()
    lengths = [int((p.suffix.trained & p.counted[..., None]).sum()) for p in parts]
    assert max(lengths) > 2.5 * min(lengths)
    if form == "sft":
        loss, rest = sft_loss(), (tiny.allowed(),)
    else:
        config = losses.RgrpoConfig(aggregation=form)
        loss, rest = rgrpo_loss(config), (None, None, tiny.allowed())
    wanted, (stats, old) = jax.jit(functools.partial(steps.gradient, loss, optimizer()))(
        tiny.params(), whole, *rest
    )
    total, found, others = steps.zeros(optimizer(), tiny.params()), [], []
    add = jax.jit(functools.partial(steps.add, loss, optimizer()))
    for part in parts:
        total, one, other = add(total, tiny.params(), part, *rest)
        found.append(one)
        others.append(other)
    scale = max(float(jnp.abs(leaf).max()) for leaf in wanted)
    for one, other in zip(wanted, total, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * scale)
    after, merged = steps.apply(optimizer(), fresh(), total, found)
    np.testing.assert_allclose(merged.pop("grad_norm"), optax.global_norm(wanted), rtol=1e-5)
    assert merged.keys() == stats.keys() and int(after.step) == 1
    for name, value in stats.items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    if form != "sft":
        logp = [np.asarray(o)[p.suffix.trained] for o, p in zip(others, parts)]
        np.testing.assert_allclose(
            np.concatenate(logp), np.asarray(old)[whole.suffix.trained], atol=1e-5
        )


def test_frozen_leaves_have_no_gradient_and_no_share_in_its_norm():
    only_head = state.make_optimizer(
        state.OptimizerConfig(1e-2, frozen=("vision", "text/layers")), tiny.params()
    )
    step = functools.partial(steps.step, sft_loss(), only_head)
    begun = state.init_state(tiny.params(), only_head)
    after, stats, _ = jax.jit(step)(begun, batch(), tiny.allowed())
    assert distance(after.params["text"]["layers"], tiny.params()["text"]["layers"]) == 0
    _, everywhere, _ = sft()(fresh(), batch(), tiny.allowed())
    assert 0 < stats["grad_norm"] < everywhere["grad_norm"]
    total = steps.zeros(only_head, tiny.params())
    assert len(total) == len(jax.tree.leaves(tiny.params())) - only_head.changes.count(False)


def test_unknown_forms_of_the_loss_are_named():
    with pytest.raises(ValueError, match=r"aggregation must be one of \['sequence_mean', 'token_"):
        losses.RgrpoConfig(aggregation="mean")
    with pytest.raises(ValueError, match=r"ratio must be one of \['sequence', 'token'\], found"):
        losses.RgrpoConfig(ratio="x")
