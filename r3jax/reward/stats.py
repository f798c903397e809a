"""Numbers of a scored batch: what the progress bar, the metrics and the alarms read."""

from collections.abc import Sequence

import numpy as np

from r3jax.records import Episode, LookOutcome, ScoredGroup, Source, Stop, Verdict
from r3jax.reward import text as texts

ZERO_STD = 1e-6  # rewards of a group closer together than this teach nothing


def summarise(scored: Sequence[ScoredGroup]) -> dict[str, float]:
    """Summarise scored groups; the same keys come out for the same reward terms, always.

    Shares are of all episodes (`look/*`: of all looks asked for; `accuracy`: of the judged
    episodes; `text_after_look`: of the episodes with an executed look) and 0 where there are none.

    Errors: ValueError for an empty list.
    """
    if not scored:
        raise ValueError("no scored groups to summarise: the batch is empty")
    episodes = [episode for one in scored for episode in one.group.episodes]
    verdicts = [verdict for one in scored for verdict in one.verdicts]
    judged = [verdict for verdict in verdicts if verdict is not Verdict.UNKNOWN]
    return {
        "reward": _mean(np.concatenate([one.reward for one in scored])),
        "accuracy": _mean([verdict is Verdict.RIGHT for verdict in judged]),
        "unknown": _mean([verdict is Verdict.UNKNOWN for verdict in verdicts]),
        "counted": _mean(np.concatenate([one.counted for one in scored])),
        "zero_variance_groups": _mean([is_flat(one) for one in scored]),
        **_term_means(scored),
        **_look_shares(episodes),
        **_stop_shares(episodes),
        **_token_means(episodes),
    }


def _term_means(scored: Sequence[ScoredGroup]) -> dict[str, float]:
    """Mean of every reward term."""
    return {
        f"reward/{name}": _mean(np.concatenate([one.terms[name] for one in scored]))
        for name in scored[0].terms
    }


def _look_shares(episodes: Sequence[Episode]) -> dict[str, float]:
    """How often the episodes look, what comes of it, and whether they think afterwards."""
    outcomes = [look.outcome for episode in episodes for look in episode.looks]
    executed = [sum(o.outcome is LookOutcome.OK for o in e.looks) for e in episodes]
    lookers = [episode for episode, count in zip(episodes, executed) if count]
    return {
        "looks_per_answer": _mean(executed),
        "tool_rate": _mean([count > 0 for count in executed]),
        "text_after_look": _mean([bool(texts.segments(e.text)[-1]) for e in lookers]),
        "closed_thoughts": _mean([texts.closed_thought(e.text) for e in episodes]),
        **{f"look/{kind.value}": _mean([o is kind for o in outcomes]) for kind in LookOutcome},
    }


def _stop_shares(episodes: Sequence[Episode]) -> dict[str, float]:
    """Why the episodes ended."""
    names = {
        Stop.ANSWER: "answered",
        Stop.END: "ended_without_answer",
        Stop.LENGTH: "truncated",
        Stop.TURNS: "over_turn",
    }
    return {name: _mean([e.stop is stop for e in episodes]) for stop, name in names.items()}


def _token_means(episodes: Sequence[Episode]) -> dict[str, float]:
    """Mean tokens an episode: all, sampled, and image tokens of its crops."""
    return {
        "tokens": _mean([len(e.tokens) for e in episodes]),
        "tokens_sampled": _mean([np.sum(e.source == Source.SAMPLED) for e in episodes]),
        "tokens_image": _mean([np.sum(e.source == Source.IMAGE) for e in episodes]),
    }


def is_flat(scored: ScoredGroup) -> bool:
    """Whether the counted rewards of a group are all the same, so that it has no advantage."""
    counted = scored.reward[scored.counted]
    return len(counted) < 2 or float(np.std(counted.astype(np.float64))) < ZERO_STD


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean in float64; 0 of nothing."""
    return float(np.mean(np.asarray(values, np.float64))) if len(values) else 0.0
