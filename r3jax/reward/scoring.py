"""Score groups: judge every answer, add up the terms, say which episodes count."""

import math
from collections.abc import Sequence

import numpy as np

from r3jax.records import Episode, Group, Question, ScoredGroup, Stop, Verdict
from r3jax.reward import answers, terms
from r3jax.reward.judge import Judge, JudgeRequest, ask


def score(
    groups: Sequence[Group],
    config: terms.RewardConfig,
    judge: Judge | None = None,
    extra_terms: Sequence[terms.ExtraTerm] = (),
) -> list[ScoredGroup]:
    """Score groups of episodes.

    Rules judge first; what they leave UNKNOWN goes to `judge`, all of it in one call. An
    extra term is a plain function `fn(question, episode) -> float`; its name is `fn.__name__`.

    Errors: ValueError for a question without an answer, two terms of one name, or a term whose
    value is not finite (it names the term and the question).
    """
    names = [*config.weights(), *(fn.__name__ for fn in extra_terms)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two reward terms are named {name!r}; rename the function of one")
    verdicts = _judge_all(groups, config, judge)
    return [
        _score_group(group, found, config, extra_terms) for group, found in zip(groups, verdicts)
    ]


def _judge_all(
    groups: Sequence[Group], config: terms.RewardConfig, judge: Judge | None
) -> list[list[Verdict]]:
    """Verdicts of every episode of every group."""
    open_sources = frozenset(config.open_vocabulary)
    verdicts, unknown, requests = [], [], []
    for row, group in enumerate(groups):
        question = group.question
        if question.answer is None:
            raise ValueError(
                f"question {question.id!r} has no answer to compare with; "
                "rewards need one, so leave it out of training data"
            )
        verdicts.append([])
        for column, episode in enumerate(group.episodes):
            verdict = answers.judge_by_rules(
                episode.answer, question.answer, question.source, open_sources
            )
            verdicts[row].append(verdict)
            if verdict is Verdict.UNKNOWN:
                unknown.append((row, column))
                requests.append(JudgeRequest(question.text, question.answer, episode.answer))
    if judge is not None:
        decided = ask(judge, requests)
    else:
        left = Verdict.WRONG if config.unknown_is_wrong() else Verdict.UNKNOWN
        decided = [left] * len(unknown)
    for (row, column), verdict in zip(unknown, decided):
        verdicts[row][column] = verdict
    return verdicts


def _score_group(
    group: Group,
    verdicts: Sequence[Verdict],
    config: terms.RewardConfig,
    extra_terms: Sequence[terms.ExtraTerm],
) -> ScoredGroup:
    """Terms, reward and mask of one group whose answers have been judged."""
    question = group.question
    values: dict[str, np.ndarray] = {}
    for name, weight in config.weights().items():
        if weight:
            term = terms.PRESETS[config.preset][name]
            values[name] = np.array(
                [weight * term(question, e, v) for e, v in zip(group.episodes, verdicts)],
                np.float32,
            )
    for term in extra_terms:
        values[term.__name__] = np.array(
            [_finite(term, question, episode) for episode in group.episodes], np.float32
        )
    reward = np.zeros(len(group.episodes), np.float32)
    for value in values.values():
        reward = reward + value
    counted = [_counts(e, v, config) for e, v in zip(group.episodes, verdicts)]
    return ScoredGroup(group, values, reward, tuple(verdicts), np.array(counted, bool))


def _finite(term: terms.ExtraTerm, question: Question, episode: Episode) -> float:
    """The value of a user's term, checked."""
    value = float(term(question, episode))
    if not math.isfinite(value):
        raise ValueError(
            f"reward term {term.__name__!r} gave {value} for question {question.id!r}; "
            "a term must return a finite number"
        )
    return value


def _counts(episode: Episode, verdict: Verdict, config: terms.RewardConfig) -> bool:
    """Whether an episode takes part in its group's baseline and in the loss."""
    if verdict is Verdict.UNKNOWN:
        return False
    if episode.stop is Stop.TURNS and config.mask_over_turn:
        return False
    return not (episode.stop is Stop.LENGTH and config.mask_truncated)
