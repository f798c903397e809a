"""Summaries of scored groups and the alarms on them."""

import pytest

from r3jax.records import LookOutcome, Stop
from r3jax.reward import alarms, scoring, stats
from r3jax.reward.terms import RewardConfig
from tests.reward.examples import BOX, make_episode, make_group, make_look, thought


def test_summary_counts_looks_stops_verdicts_and_tokens():
    episodes = [
        make_episode(thought(f"look {BOX} red"), [make_look()]),
        make_episode(
            thought(f"look {BOX}", "B"), [make_look(), make_look(LookOutcome.SWAPPED)], answer="B"
        ),
        make_episode("<think>on and on", stop=Stop.LENGTH, answer=None),
        make_episode("<think>on and on", stop=Stop.TURNS, answer=None),
    ]
    flat = make_group([make_episode(thought("red"))] * 4)
    scored = scoring.score([make_group(episodes), flat], RewardConfig("code"))
    summary = stats.means([stats.measure(one) for one in scored])
    expected = {
        "accuracy": 5 / 8,
        "unknown": 0.0,
        "counted": 6 / 8,
        "zero_variance_groups": 0.5,
        "looks_per_answer": 2 / 8,
        "tool_rate": 2 / 8,
        "text_after_look": 1 / 2,
        "closed_thoughts": 6 / 8,
        "look/ok": 2 / 3,
        "look/swapped": 1 / 3,
        "look/outside": 0.0,
        "answered": 6 / 8,
        "truncated": 1 / 8,
        "over_turn": 1 / 8,
        "tokens": 10.0,
        "tokens_sampled": 6.0,
        "tokens_image": 3.0,
        "reward/accuracy": 5 / 8,
    }
    assert {name: summary[name] for name in expected} == pytest.approx(expected)
    terms = sum(value for name, value in summary.items() if name.startswith("reward/"))
    assert terms == pytest.approx(summary["reward"], abs=1e-6)


def test_an_empty_batch_is_an_error():
    with pytest.raises(ValueError, match="the batch is empty"):
        stats.means([])


WELL = {
    "unknown": 0.0,
    "looks_per_answer": 1.2,
    "text_after_look": 0.9,
    "closed_thoughts": 1.0,
    "tool_rate": 0.95,
}


def test_a_healthy_run_raises_no_alarm():
    watch = alarms.Alarms(alarms.AlarmConfig())
    assert [watch.check(step, WELL) for step in range(100)] == [[]] * 100


@pytest.mark.parametrize("name", alarms.AlarmConfig().thresholds())
def test_a_collapse_below_the_threshold_is_announced_once_and_again_later(name):
    watch = alarms.Alarms(alarms.AlarmConfig(repeat=20))
    found = [watch.check(step, {**WELL, name: 0.01}) for step in range(41)]
    assert [step for step, messages in enumerate(found) if messages] == [0, 20, 40]
    assert f"step 0: {name} is 0.010, below the threshold" in found[0][0]


def test_a_drop_to_under_half_of_the_running_mean_is_announced():
    watch = alarms.Alarms(alarms.AlarmConfig())
    for step in range(20):
        assert watch.check(step, {**WELL, "looks_per_answer": 3.0}) == []
    (message,) = watch.check(20, {**WELL, "looks_per_answer": 1.0})
    assert "looks_per_answer is 1.000, under 50% of its running mean 3.000" in message


def test_a_summary_without_a_watched_metric_is_an_error():
    with pytest.raises(KeyError, match="summary has no 'looks_per_answer'"):
        alarms.Alarms(alarms.AlarmConfig()).check(0, {})
