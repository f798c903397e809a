"""The engine: batches do not matter, budgets and look limits hold, bad input is named."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax import batches, buckets, patches
from r3jax.data import chat, frames, looks
from r3jax.records import LookOutcome, Source, Stop, Turn
from r3jax.rollout import crops, engine, fitting, state
from tests import tiny
from tests.rollout import rolled


def collect(eng, questions, first=0, seed=rolled.SEED, step=rolled.STEP, tally=None):
    return engine.collect(
        eng, eng.policy(tiny.looking_params()), questions, seed, step, first, tally
    )


def assert_same_groups(found, expected):
    for group, whole in zip(found, expected, strict=True):
        assert group.question.id == whole.question.id
        for episode, other in zip(group.episodes, whole.episodes):
            rolled.assert_same_episode(episode, other)


def test_a_question_has_the_same_episodes_in_whatever_batch():
    eng = tiny.make_engine(size=2, episodes=2)
    questions = tiny.questions()
    for first, chosen in ((4, questions[4:]), (1, questions[1:4])):
        assert_same_groups(
            collect(eng, chosen, first),
            [
                dataclasses.replace(g, episodes=g.episodes[:2])
                for g in rolled.groups()[first : first + len(chosen)]
            ],
        )


def test_serving_looks_in_small_parts_changes_nothing():
    few = dataclasses.replace(tiny.BUCKETS, crops=(buckets.ImageBucket(2, 1, 36),))
    eng = dataclasses.replace(rolled.shared_engine(), buckets=few)
    assert_same_groups(collect(eng, tiny.questions()[:4]), rolled.groups()[:4])


@pytest.mark.parametrize(("exchange", "patience"), [(1, 1), (2, 64)])
def test_groups_that_come_and_go_have_the_episodes_of_those_that_stay(exchange, patience):
    together, fluid = engine.Tally(), engine.Tally()
    collect(tiny.make_engine(size=2), tiny.questions(), tally=together)
    eng = tiny.make_engine(size=2, exchange=exchange, patience=patience)
    assert_same_groups(collect(eng, iter(tiny.questions()), tally=fluid), rolled.groups())
    sampled = [(e.source == Source.SAMPLED).sum() for g in rolled.groups() for e in g.episodes]
    assert fluid.tokens == together.tokens == sum(sampled) and fluid.rows == 6
    if exchange == 1:
        assert fluid.steps < together.steps and fluid.useful > together.useful


def test_questions_without_an_image_and_with_several_are_answered_beside_others():
    plain, other = tiny.questions()[:2]
    none = dataclasses.replace(plain, id="none", images=())
    turns = (
        Turn("user", (0, plain.text)),
        Turn("assistant", ("No.",)),
        Turn("user", (1, other.text)),
    )
    several = dataclasses.replace(plain, id="two", images=plain.images + other.images, turns=turns)
    shapes = dataclasses.replace(tiny.BUCKETS, prompt_tokens=(48, 96))
    eng = tiny.make_engine(size=2, exchange=1, shapes=shapes)
    asked = [none, several, *tiny.questions()[2:4], none, several]
    found = collect(eng, asked)
    assert_same_groups(found[2:4], rolled.groups()[2:4])
    alone = tiny.make_engine(size=1, shapes=shapes)
    for number in (0, 1, 4, 5):
        assert_same_groups(found[number : number + 1], collect(alone, [asked[number]], number))
    looked = [look.outcome for e in found[0].episodes for look in e.looks]
    assert looked and set(looked) <= {LookOutcome.NO_IMAGE, LookOutcome.TOO_MANY}
    logp = rolled.rescore([g.prompt for g in found], [g.episodes for g in found], shapes)
    for b, group in enumerate(found):
        for g, episode in enumerate(group.episodes):
            sampled = episode.source == Source.SAMPLED
            again = logp[b, g, : len(sampled)][sampled]
            np.testing.assert_allclose(again, episode.logp[sampled], atol=1e-4, rtol=0)


def test_finished_groups_are_handed_out_while_others_decode():
    eng = tiny.make_engine(size=2, exchange=1)
    asked = []

    def questions():
        for question in tiny.questions():
            asked.append(question.id)
            yield question

    policy = eng.policy(tiny.looking_params())
    made = engine.stream(eng, policy, questions(), rolled.SEED, rolled.STEP)
    next(made)
    assert len(asked) < 6  # nobody waits for all images to be opened
    assert sorted(number for number, _ in made) != list(range(6))  # the first is gone


def test_a_longer_prompt_widens_the_rows_of_those_that_decode():
    shapes = dataclasses.replace(tiny.BUCKETS, prompt_tokens=(36, 48, 72))
    questions = tiny.questions()
    questions[3] = dataclasses.replace(questions[3], text="what is there? " + questions[3].text)
    prompts = [chat.build_prompt(q, tiny.tk(), tiny.FORM)[0] for q in questions]
    widths = [batches.prompt_bucket([prompt], shapes) for prompt in prompts]
    assert max(widths[:2]) < widths[3]
    (alone,) = collect(tiny.make_engine(size=1, shapes=shapes), questions[3:4], first=3)
    found = collect(tiny.make_engine(size=2, shapes=shapes, exchange=1), questions)
    expected = [*rolled.groups()]
    expected[3] = alone
    assert_same_groups(found, expected)


def test_reading_the_end_of_a_long_row_is_enough_to_find_its_box(monkeypatch):
    monkeypatch.setattr(state, "RECENT", 40)
    assert max(len(e.tokens) for group in rolled.groups() for e in group.episodes) > 80
    assert_same_groups(collect(tiny.make_engine(), tiny.questions()), rolled.groups())


def test_an_exchange_that_does_not_divide_the_questions_is_named():
    with pytest.raises(ValueError, match="exchange must divide questions, 4, found 3"):
        engine.RolloutConfig(4, 3, exchange=3)


def test_another_seed_or_step_gives_other_episodes():
    eng, questions = rolled.shared_engine(), tiny.questions()[:4]
    runs = [collect(eng, questions, seed=seed) for seed in (rolled.SEED, 99, 99)]
    runs.append(collect(eng, questions, step=8))
    texts = [[e.text for group in run for e in group.episodes] for run in runs]
    assert texts[0] == [e.text for group in rolled.groups()[:4] for e in group.episodes]
    assert texts[1] == texts[2] and len({*map(tuple, texts)}) == 3


def test_a_model_that_asks_for_more_looks_than_allowed_is_stopped():
    rules = dataclasses.replace(tiny.FORM.look_rules, max_looks=1)
    form = dataclasses.replace(tiny.FORM, look_rules=rules)
    eng = dataclasses.replace(rolled.shared_engine(), form=form)
    (group,) = collect(eng, tiny.questions()[4:5], first=4)  # was taught to look twice
    stopped = [e for e in group.episodes if e.stop is Stop.TURNS]
    assert stopped
    for episode in stopped:
        outcomes = [look.outcome for look in episode.looks]
        assert outcomes == [LookOutcome.OK, LookOutcome.TOO_MANY]
        assert len(episode.crops) == 1 and episode.text.endswith("}")
        assert episode.source[-1] == Source.SAMPLED and episode.answer is None


def test_a_look_without_room_is_not_made_and_the_episode_counts_as_truncated():
    small = dataclasses.replace(tiny.BUCKETS, suffix_tokens=(44,))  # a box closes near token 42
    eng = tiny.make_engine(size=1, episodes=3, shapes=small)
    (group,) = collect(eng, tiny.questions()[1:2], first=1)
    whole = rolled.groups()[1]
    for found, expected in zip(group.episodes, whole.episodes):
        n = len(found.tokens)
        assert found.tokens.tolist() == expected.tokens[:n].tolist() and n <= 44
        assert (found.stop is Stop.LENGTH) == (n < len(expected.tokens))
    cut = [e for e in group.episodes if e.stop is Stop.LENGTH]
    assert any(not e.looks and e.text.endswith("}") for e in cut)


def test_looks_cut_on_the_device_give_the_episodes_that_the_host_gives():
    shapes = dataclasses.replace(tiny.BUCKETS, originals=(336, 336))
    eng = tiny.make_engine(size=2, shapes=shapes, exchange=1)
    assert eng.way is crops.Way.HOST
    cut_there = dataclasses.replace(eng, way=crops.Way.XLA, keep_features=True)
    by_host, by_device = (collect(one, tiny.questions()) for one in (eng, cut_there))
    assert_same_groups(by_device, by_host)
    looked = [look for group in by_device for e in group.episodes for look in e.looks]
    looked = [look for look in looked if look.outcome is LookOutcome.OK]
    assert len(looked) > 6 and not any("crop" in vars(look) for look in looked)  # never on the host
    for ours, theirs in zip(by_device, by_host):
        for one, other in zip(ours.episodes, theirs.episodes):
            for crop, expected in zip(one.crops, other.crops, strict=True):
                np.testing.assert_array_equal(crop, expected)


def test_blanked_crops_are_grey_and_change_what_follows():
    eng = dataclasses.replace(rolled.shared_engine(), look=looks.blank_look)
    (group,) = collect(eng, tiny.questions()[1:2], first=1)
    for found, expected in zip(group.episodes, rolled.groups()[1].episodes):
        if not expected.crops:
            continue
        seen = int(np.argmax(expected.source == Source.IMAGE))
        assert (found.crops[0] == looks.GREY).all()
        assert found.crops[0].shape == expected.crops[0].shape
        assert found.tokens[:seen].tolist() == expected.tokens[:seen].tolist()
        np.testing.assert_allclose(found.logp[:seen], expected.logp[:seen], atol=1e-4)
        assert abs(found.logp[-1] - expected.logp[-1]) > 0


def test_a_prompt_longer_than_its_buckets_is_named():
    question = dataclasses.replace(tiny.questions()[0], text="what is there? " * 20)
    with pytest.raises(ValueError, match=r"prompt_tokens needs \d+, the largest bucket is 48"):
        collect(rolled.shared_engine(), [question])


def test_look_tokens_too_small_for_a_message_or_a_crop_are_named():
    few = dataclasses.replace(tiny.BUCKETS, look_tokens=10)
    with pytest.raises(ValueError, match=r"look_tokens is 10, but what follows a box \(\w+\) can"):
        tiny.make_engine(shapes=few)
    large = looks.LookRules(frames.PixelBounds.of_tokens(4, 64))
    form = dataclasses.replace(tiny.FORM, look_rules=large)
    words = (
        r"what follows a box \(crop\) can have 66 tokens: raise it, or lower the crop's max_pixels"
    )
    with pytest.raises(ValueError, match=words):
        fitting.check_buckets(tiny.tk(), form, tiny.BUCKETS)


def test_buckets_that_the_largest_or_the_thinnest_crop_would_not_fit_are_refused_at_the_start():
    few_slots = dataclasses.replace(tiny.BUCKETS, crops=(buckets.ImageBucket(6, 1, 16),))
    with pytest.raises(ValueError, match=r"6 rows .* with at least 1 windows of 36 slots"):
        tiny.make_engine(shapes=few_slots)
    thin = dataclasses.replace(tiny.FORM.look_rules, max_aspect=3.0)
    form = dataclasses.replace(tiny.FORM, look_rules=thin)
    with pytest.raises(ValueError, match=r"24 rows .* with at least 2 windows of 36 slots"):
        fitting.check_buckets(tiny.tk(), form, tiny.BUCKETS)


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(4, 40), st.floats(1, 5))
@settings(max_examples=300, deadline=None)
def test_no_crop_takes_more_than_the_largest_by_the_rules(height, width, tokens, aspect):
    rules = looks.LookRules(frames.PixelBounds.of_tokens(4, tokens), max_aspect=aspect)
    frame = frames.Frame.fit(2000, 2000, frames.PixelBounds.of_tokens(4, 5102))
    if looks.check_box((0, 0, width, height), frame, (), rules) is not LookOutcome.OK:
        return
    plan = frames.plan_crop(frame, frame.to_original((0, 0, width, height)), rules.crop)
    windows, slots = patches.window_shape(plan.height // 28, plan.width // 28)
    most_windows, most_slots = fitting.largest_crop(rules)
    assert windows <= most_windows and slots <= most_slots


def test_episodes_that_outgrow_their_slots_go_on_as_if_there_had_been_room():
    """Shapes so small that rows grow while they write, while they look, and one after the other."""
    steps = dataclasses.replace(
        tiny.BUCKETS,
        suffix_tokens=(12, 16, 30, 44, 80, 128),  # the first two come to as many slots
        crops=(buckets.ImageBucket(2, 1, 36), *tiny.BUCKETS.crops[1:]),
    )
    eng = tiny.make_engine(size=4, episodes=3, shapes=steps)
    assert max(len(e.tokens) for group in rolled.groups()[:4] for e in group.episodes) > 80
    assert_same_groups(collect(eng, tiny.questions()[:4]), rolled.groups()[:4])
