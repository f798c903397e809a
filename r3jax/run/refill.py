"""The groups of a step: rolled out and scored; those that teach nothing give way to others."""

from collections.abc import Callable, Iterator, Sequence

from r3jax import hosts, shares
from r3jax.model.qwen import Policy
from r3jax.phases import Phase, span
from r3jax.records import Group, Question, ScoredGroup
from r3jax.reward import stats
from r3jax.rollout import engine
from r3jax.shares import Share


def collect(
    eng: engine.Engine,
    policy: Policy,
    questions: Iterator[Sequence[Question]],
    score: Callable[[list[Group]], list[ScoredGroup]],
    seed: int,
    step: int,
    refill: int,
    tally: engine.Tally,
) -> tuple[list[ScoredGroup], list[ScoredGroup]]:
    """Collects and scores one batch of groups; flat ones are replaced by those of up to `refill`
    more batches.

    Returns the groups as they were first rolled out, and those to train on: of several hosts each
    has its own, and replaces those that are flat by its own.
    """

    def roll(turn: int) -> list[ScoredGroup]:
        first = turn * eng.config.questions
        with span(Phase.DATA):
            asked = next(questions)
        groups = engine.collect(eng, policy, asked, seed, step, first, tally)
        with span(Phase.REWARDS):
            return score(groups)

    first = scored = roll(0)
    for turn in range(1, refill + 1):
        if not hosts.any_of("flat groups", any(stats.is_flat(one) for one in scored)):
            break
        scored = replace_flat(scored, roll(turn))
    return first, scored


def replace_flat(scored: Sequence[ScoredGroup], fresh: Sequence[ScoredGroup]) -> list[ScoredGroup]:
    """Returns `scored` with its flat groups replaced, in order, by those of `fresh` that are not.

    Flat groups stay where there are not enough.
    """
    useful = iter([one for one in fresh if not stats.is_flat(one)])
    return [next(useful, one) if stats.is_flat(one) else one for one in scored]


def summarise(
    first: Sequence[ScoredGroup], trained: Sequence[ScoredGroup], share: Share = shares.ALL
) -> dict[str, float]:
    """Numbers of the groups of all hosts, of which this one has a share, as first rolled out: those
    left after replacing look better.

    `replaced_groups` is the share of them that others stand for in the update.
    """
    replaced = [one is not other for one, other in zip(first, trained, strict=True)]
    own = [[stats.measure(one), bool(other)] for one, other in zip(first, replaced)]
    found = share.one_of_each(hosts.gather("what the groups are like", own))
    measured, replaced = zip(*(one for of_host in found for one in of_host))
    return {**stats.means(measured), "replaced_groups": sum(replaced) / len(replaced)}
