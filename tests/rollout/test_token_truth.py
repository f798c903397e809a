"""Token truth: what was sampled is what is trained on, to the token, position and log-prob."""

import dataclasses
import itertools

import numpy as np

from r3jax import patches, positions
from r3jax.data import chat, looks
from r3jax.records import LookOutcome, Source, Stop
from r3jax.rollout import engine
from tests import tiny
from tests.rollout import rolled


def episodes():
    """Each group's prompt and question with each of its episodes."""
    return [(group, episode) for group in rolled.groups() for episode in group.episodes]


def test_the_rollouts_really_look_and_some_looks_fail():
    outcomes = [look.outcome for _, episode in episodes() for look in episode.looks]
    assert outcomes.count(LookOutcome.OK) >= 5
    assert outcomes.count(LookOutcome.OUTSIDE) >= 1
    assert max(len(episode.crops) for _, episode in episodes()) == 2
    assert {Stop.ANSWER} < {episode.stop for _, episode in episodes()}
    assert len({len(episode.tokens) for _, episode in episodes()}) > 3


def test_the_update_finds_the_log_probs_that_the_sampler_stored():
    groups = rolled.groups()
    logp = rolled.rescore([g.prompt for g in groups], [g.episodes for g in groups])
    for b, group in enumerate(groups):
        for g, episode in enumerate(group.episodes):
            sampled = episode.source == Source.SAMPLED
            found = logp[b, g, : len(sampled)]
            np.testing.assert_allclose(found[sampled], episode.logp[sampled], atol=1e-4, rtol=0)
            assert (episode.logp[sampled] <= 0).all() and (episode.logp[~sampled] == 0).all()


def test_features_that_a_rollout_keeps_score_as_images_encoded_again_do():
    keeping = dataclasses.replace(rolled.shared_engine(), keep_features=True)
    policy = keeping.policy(tiny.looking_params())
    kept = engine.collect(keeping, policy, tiny.questions(), rolled.SEED, rolled.STEP)
    pairs = [[g.prompt for g in groups] for groups in (kept, rolled.groups())]
    episodes = [[g.episodes for g in groups] for groups in (kept, rolled.groups())]
    assert not isinstance(tiny.pack(pairs[0], episodes[0]).shown, tuple)
    assert isinstance(tiny.pack(pairs[1], episodes[1]).shown, tuple)
    with_features, encoded = map(rolled.rescore, pairs, episodes)
    trained = tiny.pack(pairs[0], episodes[0]).suffix.trained
    np.testing.assert_allclose(with_features[trained], encoded[trained], atol=1e-5, rtol=0)


def test_positions_are_those_of_prompt_and_episode_as_one_sequence():
    for group, episode in episodes():
        tokens = np.concatenate([group.prompt.tokens, episode.tokens])
        shown = (*group.prompt.images, *episode.crops)
        grids = [patches.merged_grid(image.shape) for image in shown]
        whole, _ = positions.rope_index(tokens, grids, tiny.tk().ids.image_pad)
        there = np.concatenate([group.prompt.positions, episode.positions], axis=1)
        np.testing.assert_array_equal(there, whole)


def test_sources_say_who_wrote_each_token():
    tk = tiny.tk()
    for group, episode in episodes():
        sampled, rest = split_by_writer(episode)
        frame = chat.build_prompt(group.question, tk, tiny.FORM)[1]
        served = []
        for number, look in enumerate(look for look in episode.looks if is_answered(look)):
            text = tk.decode(sampled[number])
            again = looks.take_look(
                text, group.question.images[0], frame, served, tiny.FORM.look_rules
            )
            served.append(again)
            assert (again.outcome, again.box_original) == (look.outcome, look.box_original)
            np.testing.assert_array_equal(again.crop, look.crop)
            if again.crop is None:
                tokens, source = chat.failed_look_tokens(look.outcome, tk)
            else:
                rows, columns = patches.merged_grid(look.crop.shape)
                tokens, source = chat.look_tokens(rows * columns, tk)
            assert rest[number][0].tolist() == tokens.tolist()
            assert rest[number][1].tolist() == source.tolist()
        assert len(rest) == len(served)
        assert all(tiny.allowed()[part].all() for part in sampled)


def is_answered(look) -> bool:
    return look.outcome is not LookOutcome.TOO_MANY


def split_by_writer(episode):
    """The runs of SAMPLED tokens, and the (tokens, source) runs between them."""
    is_sampled = episode.source == Source.SAMPLED
    edges = [0, *(np.flatnonzero(np.diff(is_sampled)) + 1), len(is_sampled)]
    runs = [slice(a, b) for a, b in itertools.pairwise(edges)]
    assert is_sampled[0]
    sampled = [episode.tokens[run] for run in runs[::2]]
    return sampled, [(episode.tokens[run], episode.source[run]) for run in runs[1::2]]


def test_blanking_a_crop_changes_log_probs_after_it_and_none_before():
    group, episode = next(
        (group, episode)
        for group, episode in episodes()
        if episode.crops and (episode.source[-5:] == Source.SAMPLED).all()
    )
    blank = tuple(
        look if look.cut is None else dataclasses.replace(look, cut=np.zeros_like(look.crop).copy)
        for look in episode.looks
    )
    blanked = dataclasses.replace(episode, looks=blank)
    others = rolled.groups()[:5]
    prompts = [group.prompt, *(g.prompt for g in others)]
    before = rolled.rescore(prompts, [[episode] * 3, *(g.episodes for g in others)])[0, 0]
    after = rolled.rescore(prompts, [[blanked] * 3, *(g.episodes for g in others)])[0, 0]
    first_crop = int(np.argmax(episode.source == Source.IMAGE))
    np.testing.assert_array_equal(before[: first_crop + 1], after[: first_crop + 1])
    seen = np.flatnonzero(episode.source == Source.SAMPLED)
    seen = seen[seen > first_crop]
    assert np.abs(before[seen] - after[seen]).max() > 1e-3


def test_a_teacher_episode_of_the_same_text_has_the_same_tokens():
    """The layout contract: where the model repeats the teacher, rollout and SFT data agree."""
    compared = 0
    for one, group in zip(tiny.taught_traces(), rolled.groups()):
        prompt, taught = tiny.teach(one)
        np.testing.assert_array_equal(prompt.tokens, group.prompt.tokens)
        for episode in group.episodes:
            if episode.text != taught.text:
                continue
            compared += 1
            n = len(episode.tokens)
            assert taught.tokens[-1] == tiny.tk().ids.im_end and len(taught.tokens) == n + 1
            assert taught.tokens[:n].tolist() == episode.tokens.tolist()
            assert taught.source[:n].tolist() == episode.source.tolist()
            assert taught.positions[:, :n].tolist() == episode.positions.tolist()
            for ours, theirs in zip(taught.crops, episode.crops, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert compared >= 1
