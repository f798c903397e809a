"""The R-GRPO loop's own functions: flat groups are replaced and counted, alarms outlive a stop."""

import numpy as np
import pytest

from r3jax import metrics
from r3jax.records import ScoredGroup, Verdict
from r3jax.reward.alarms import AlarmConfig
from r3jax.reward.stats import is_flat
from r3jax.run import refill, rgrpo
from tests.reward import examples


def group(*rewards: float) -> ScoredGroup:
    """A group of one counted episode a reward; a rewarded one is right."""
    reward = np.array(rewards, np.float32)
    return ScoredGroup(
        examples.make_group([examples.make_episode(examples.thought("")) for _ in rewards]),
        {"answer": reward},
        reward,
        tuple(Verdict.RIGHT if r else Verdict.WRONG for r in rewards),
        np.ones(len(rewards), bool),
    )


def test_flat_groups_are_replaced_in_order_by_those_that_teach():
    first = [group(0, 0), group(0, 1), group(1, 1), group(0, 0)]
    fresh = [group(1, 1), group(1, 0), group(0, 1), group(0, 0)]
    found = refill.replace_flat(first, fresh)
    expected = [fresh[1], first[1], fresh[2], first[3]]
    assert all(one is other for one, other in zip(found, expected, strict=True))
    assert [is_flat(one) for one in found] == [False, False, False, True]


def test_numbers_are_those_of_the_groups_as_first_rolled_out():
    first = [group(0, 0), group(0, 1), group(0, 0), group(0, 0)]
    found = refill.summarise(first, refill.replace_flat(first, [group(1, 0), group(0, 0)]))
    assert (found["zero_variance_groups"], found["replaced_groups"]) == (0.75, 0.25)
    assert (found["reward"], found["accuracy"]) == (0.125, 0.125)


WELL = {"looks_per_answer": 3.0, "text_after_look": 0.9, "closed_thoughts": 1.0, "tool_rate": 0.9}


@pytest.mark.parametrize("stop", [1, 14, 16, 22])
def test_alarms_stand_in_the_metrics_and_outlive_a_stop(tmp_path, stop):
    """The looks fall from 3 to 1 at step 15: an alarm there, and again ten steps later."""
    config = AlarmConfig(repeat=10)

    def go_on(workdir, start, end):
        with metrics.MetricsWriter(workdir, start) as writer:
            watch = rgrpo.remember(config, workdir)
            for step in range(start, end):
                summary = {**WELL, "looks_per_answer": 3.0 if step < 15 else 1.0}
                watch.check(step, summary)
                writer.write(step, {**summary, **watch.numbers(step)})

    go_on(tmp_path / "whole", 0, 30)
    go_on(tmp_path / "broken", 0, stop + 2)
    go_on(tmp_path / "broken", stop, 30)
    whole, broken = (metrics.read(tmp_path / n / metrics.METRICS) for n in ("whole", "broken"))
    assert whole == broken
    assert [line["step"] for line in whole if line["alarm/looks_per_answer"]] == [15, 25]
    assert not any(line["alarm/tool_rate"] for line in whole)
