"""The peers do what they are said to do: the same work in batches, the cache, positions, the loss.

On the small model that the repository carries: what is tested does not depend on the size.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import mini, script
from benchmarks.ours import update as ours
from r3jax import positions
from r3jax.update import losses, objective

torch = pytest.importorskip("torch", reason="torch is missing: install the test extra")
pytest.importorskip("transformers", reason="transformers is missing: install the test extra")

from benchmarks.peers import loop, plain, update  # noqa: E402 -- they import torch

pytestmark = [pytest.mark.slow, pytest.mark.oracle]
GRIDS = [(16, 16), (8, 8), (8, 8)]  # in tokens: the image and two crops


@pytest.fixture(scope="module")
def net():
    return plain.load(mini.BESIDE)


@pytest.fixture(scope="module")
def pictures():
    return mini.pictures(mini.QUESTIONS)


def test_one_at_a_time_and_in_a_batch_the_same_tokens_come(net, pictures):
    which = [(0, 0), (0, 3), (5, 1)]
    together = loop.collect(net, pictures, which, greedy=True)
    assert together.shape == (3, script.TURNS, script.TURN)
    for row, one in zip(which, together):
        np.testing.assert_array_equal(
            loop.collect(net, pictures, [row], greedy=True), one[None], err_msg=str(row)
        )


def test_contexts_of_different_lengths_do_not_change_each_other(net, pictures):
    prompts, turns = mini.prompts(net.config), script.sampled()
    contexts = [
        script.sequence(net.config, prompts[question], turns[question, 0, :looks])
        for question, looks in ((1, 2), (2, 0))
    ]
    shown = [list(loop.pixels(pictures, (1, 0), 2)), list(loop.pixels(pictures, (2, 0), 0))]
    together = loop.generate(net, contexts, shown[0] + shown[1], greedy=True)
    alone = [loop.generate(net, [c], s, greedy=True)[0] for c, s in zip(contexts, shown)]
    np.testing.assert_array_equal(together, alone)


def test_a_turn_prefills_once_then_decodes_with_the_cache_at_the_right_positions(net, pictures):
    seen = []

    def look(_, args, kwargs):
        seen.append(kwargs["position_ids"][1:].numpy())

    with net.model.language_model.register_forward_pre_hook(look, with_kwargs=True):
        sampled = loop.collect(net, pictures, [(3, 1)])
    assert not np.isin(sampled, loop.visual_ids(net.config)).any()
    lengths = [322, 420, 518]
    one_each = [1] * (script.TURN - 1)
    assert [x.shape[-1] for x in seen] == [n for k in lengths for n in (k, *one_each)]
    prompt = mini.prompts(net.config)[3]
    for turn in range(script.TURNS):
        context = script.sequence(net.config, prompt, sampled[0, :turn])
        expected, after = positions.rope_index(
            context, GRIDS[: turn + 1], net.config.image_token_id
        )
        begin = turn * script.TURN
        np.testing.assert_array_equal(seen[begin][:, 0], expected)
        decoded = np.concatenate(seen[begin + 1 : begin + script.TURN], -1)[:, 0]
        np.testing.assert_array_equal(decoded, positions.text_positions(after, script.TURN - 1)[0])


def test_log_probs_are_those_of_a_plain_forward_of_each_sequence(net):
    batch = update.micro_batches(net)[2]
    with torch.no_grad():
        found = update.log_probs(net, batch).numpy()
        patches_of_row = np.split(batch.given["pixel_values"].numpy(), update.ROWS)
        for row, one in enumerate(patches_of_row):
            ids = batch.given["input_ids"][row : row + 1].numpy()
            images = np.split(one, [1024, 1280])
            net.model.rope_deltas = None
            logits = net(**plain.inputs(ids, images, net.config, net.dtype)).logits[0]
            log_prob = torch.log_softmax(logits, -1)[:-1].numpy()
            of_next = np.take_along_axis(log_prob, ids[0, 1:, None], -1)[:, 0]
            expected = of_next[script.is_sampled()[1:]]
            np.testing.assert_allclose(found[row], expected, atol=2e-4)
            np.testing.assert_array_equal(
                batch.targets[row].numpy(), script.sampled()[2, row].reshape(-1)
            )


def test_the_loss_is_that_of_our_own_update():
    rng = np.random.default_rng(0)
    new, old = rng.normal(-2.0, 0.4, (2, 5, script.SAMPLED)).astype(np.float32)
    advantage = script.advantages()[0]
    found = update.losses(*(torch.from_numpy(x) for x in (new, old, advantage)))
    config, counted = losses.RgrpoConfig(), np.ones((1, 5), bool)
    mask = np.ones((1, *new.shape), bool)
    ratio = objective.token_ratio(jnp.array(new[None]), jnp.array(old[None]), mask)
    per_token = objective.clipped_loss(
        ratio, jnp.array(advantage[None]), config.clip_low, config.clip_high
    )
    expected = objective.sequence_mean(per_token, mask, counted, objective.totals(mask))
    np.testing.assert_allclose(found.mean().item(), float(expected), rtol=1e-5)


def test_micro_batches_add_up_and_only_text_learns():
    found, moved = [], []
    for rows in (5, 8):
        net = plain.load(mini.BESIDE)
        before = {name: one.detach().clone() for name, one in net.named_parameters()}
        optimizer = update.make_optimizer(net)
        found.append(update.update(net, optimizer, update.micro_batches(net, rows)))
        moved.append({n for n, one in net.named_parameters() if not torch.equal(one, before[n])})
    assert abs(found[0].loss) < 1e-6  # ratios are 1 and advantages add up to 0
    assert found[0].grad_norm == pytest.approx(found[1].grad_norm, rel=1e-3) and found[0].grad_norm
    assert moved[0] == moved[1] == {n for n in before if not n.startswith("model.visual")}


def test_both_sides_of_the_update_find_the_same_gradient():
    directory = str(mini.BESIDE)
    theirs = update.rgrpo(directory, "float32")[1]["update"]()
    found = ours.rgrpo(directory, "float32")[1]["update"]()["grad_norm"]
    np.testing.assert_allclose(found, theirs.grad_norm, rtol=1e-3)
    assert found > 0.01
