"""Numbers of a scored batch: what the progress bar, the metrics and the alarms read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r3jax.records import LookOutcome, ScoredGroup, Source, Stop, Verdict
from r3jax.reward import text as texts

ZERO_STD = 1e-6  # rewards of a group closer together than this teach nothing

STOPS = {
    Stop.ANSWER: "answered",
    Stop.END: "ended_without_answer",
    Stop.LENGTH: "truncated",
    Stop.TURNS: "over_turn",
}
"""Why episodes end, as the metrics name it."""


def measure(scored: ScoredGroup) -> dict[str, Any]:
    """What `means` needs of a group, as JSON values, which another host can be told: lists with an
    entry for each episode, but for whether the group `is_flat`."""
    episodes = scored.group.episodes
    return {
        "flat": is_flat(scored),
        "reward": scored.reward.tolist(),
        "terms": {name: values.tolist() for name, values in scored.terms.items()},
        "verdict": [verdict.value for verdict in scored.verdicts],
        "counted": scored.counted.tolist(),
        "looks": [[look.outcome.value for look in episode.looks] for episode in episodes],
        "told": [bool(texts.segments(episode.text)[-1]) for episode in episodes],
        "closed": [texts.closed_thought(episode.text) for episode in episodes],
        "stop": [episode.stop.value for episode in episodes],
        "tokens": [len(episode.tokens) for episode in episodes],
        "sampled": [int(np.sum(episode.source == Source.SAMPLED)) for episode in episodes],
        "image": [int(np.sum(episode.source == Source.IMAGE)) for episode in episodes],
    }


def means(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Numbers of groups that were measured; the same keys come out for the same reward terms.

    Shares are of all episodes (`look/*`: of all looks asked for; `accuracy`: of the judged
    episodes; `text_after_look`: of the episodes with an executed look) and 0 where there are none.

    Errors: ValueError for an empty list.
    """
    if not measured:
        raise ValueError("no scored groups to summarise: the batch is empty")

    def of_episodes(name: str) -> list:
        return [value for one in measured for value in one[name]]

    verdicts = of_episodes("verdict")
    judged = [verdict for verdict in verdicts if verdict != Verdict.UNKNOWN]
    stops = of_episodes("stop")
    return {
        "reward": _mean(of_episodes("reward")),
        "accuracy": _mean([verdict == Verdict.RIGHT for verdict in judged]),
        "unknown": _mean([verdict == Verdict.UNKNOWN for verdict in verdicts]),
        "counted": _mean(of_episodes("counted")),
        "zero_variance_groups": _mean([one["flat"] for one in measured]),
        **{
            f"reward/{name}": _mean([value for one in measured for value in one["terms"][name]])
            for name in measured[0]["terms"]
        },
        **_look_shares(of_episodes("looks"), of_episodes("told")),
        "closed_thoughts": _mean(of_episodes("closed")),
        **{name: _mean([one == stop for one in stops]) for stop, name in STOPS.items()},
        "tokens": _mean(of_episodes("tokens")),
        "tokens_sampled": _mean(of_episodes("sampled")),
        "tokens_image": _mean(of_episodes("image")),
    }


def _look_shares(looks: Sequence[Sequence[str]], told: Sequence[bool]) -> dict[str, float]:
    """How often episodes look, what comes of it, and whether they think afterwards."""
    outcomes = [outcome for episode in looks for outcome in episode]
    executed = [sum(outcome == LookOutcome.OK for outcome in episode) for episode in looks]
    return {
        "looks_per_answer": _mean(executed),
        "tool_rate": _mean([count > 0 for count in executed]),
        "text_after_look": _mean([one for one, count in zip(told, executed) if count]),
        **{f"look/{kind.value}": _mean([o == kind for o in outcomes]) for kind in LookOutcome},
    }


def is_flat(scored: ScoredGroup) -> bool:
    """Whether the counted rewards of a group are all the same, so that it has no advantage."""
    counted = scored.reward[scored.counted]
    return len(counted) < 2 or float(np.std(counted.astype(np.float64))) < ZERO_STD


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean in float64; 0 of nothing."""
    return float(np.mean(np.asarray(values, np.float64))) if len(values) else 0.0
