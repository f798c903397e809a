"""Asking a model many questions and judging its answers.

    eng = evaluate.make_engine(start, buckets, temperature=0.0)
    predictions, summary = evaluate.evaluate(eng, params, questions)

One engine serves any number of parameter trees of the same model. Those of the host come to the
device once, as rollouts read them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from r3jax.buckets import Buckets
from r3jax.data import chat, traces, vlir
from r3jax.evaluate import look_again
from r3jax.model.qwen import Qwen25VL
from r3jax.records import Episode, Question
from r3jax.rollout import engine, sampling, weights
from r3jax.run.pretrained import Pretrained


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model answered a look-again question.

    `looks` are the outcomes of its looks in order, `stop` why the episode ended.
    """

    id: str
    question: str
    answer: str | None
    gold: str
    right: bool
    looks: tuple[str, ...]
    stop: str
    num_tokens: int
    text: str


@dataclasses.dataclass(frozen=True)
class Questions(Sequence):
    """The questions of rows of a data file, their images opened when they are asked for."""

    rows: Sequence[vlir.RlRow]
    form: chat.ChatFormat

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at):
        if isinstance(at, slice):
            return Questions(self.rows[at], self.form)
        return traces.load_question(self.rows[at], self.form.image_bounds)


def make_engine(
    start: Pretrained,
    buckets: Buckets,
    temperature: float = 0.0,
    batch: int = 32,
    model: Qwen25VL | None = None,
) -> engine.Engine:
    """Returns an engine that asks `batch` questions at a time, once each; 0 is greedy.

    Those that are answered give way to others, `arriving(batch)` at a time.
    """
    sampled = sampling.SamplingConfig(temperature)
    how = engine.RolloutConfig(batch, 1, sampled, exchange=arriving(batch))
    return engine.make_engine(model or start.model(), start.tokenizer, start.form, buckets, how)


def arriving(batch: int) -> int:
    """How many of `batch` questions come in together: a quarter, or what divides it below that.

    >>> arriving(64), arriving(30), arriving(1)
    (16, 6, 1)
    """
    return next(n for n in range(max(1, batch // 4), 0, -1) if batch % n == 0)


def ask(
    eng: engine.Engine,
    params,
    questions: Sequence[Question],
    seed: int = 0,
    first: int = 0,
    tally: engine.Tally | None = None,
) -> Iterator[list[tuple[Question, Episode]]]:
    """Yields questions with their episodes in order, as they become known, from number `first` on.

    What a question is answered depends on its number and the seed, not on where asking began.
    """
    rest = (questions[number] for number in range(first, len(questions)))
    early: dict[int, tuple[Question, Episode]] = {}
    policy = weights.sent(params, eng.model.dtype)
    for number, group in engine.stream(eng, policy, rest, seed, 0, first, tally):
        early[number] = group.question, group.episodes[0]
        known = []
        while first in early:
            known.append(early.pop(first))
            first += 1
        if known:
            yield known


def evaluate(
    eng: engine.Engine,
    params,
    questions: Sequence[Question],
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> tuple[list[Prediction], dict[str, Any]]:
    """Asks every question once; returns the predictions and what look_again.summarise counts.

    `report` is called each time more are answered, with how many and the share right.
    """
    predictions: list[Prediction] = []
    for batch in ask(eng, params, questions, seed):
        predictions += [predict(question, episode) for question, episode in batch]
        if report is not None:
            report(len(predictions), share_right(predictions))
    # Rows have the tags and the source that are counted by; no image is opened again.
    counted = questions.rows if isinstance(questions, Questions) else questions
    looks, stops = [one.looks for one in predictions], [one.stop for one in predictions]
    return predictions, summarise(counted, [one.right for one in predictions], looks, stops)


def predict(question: Question, episode: Episode) -> Prediction:
    """An episode as a judged answer."""
    return Prediction(
        id=question.id,
        question=question.text,
        answer=episode.answer,
        gold=question.answer,
        right=look_again.is_right(question, episode.answer),
        looks=tuple(look.outcome.value for look in episode.looks),
        stop=episode.stop.value,
        num_tokens=len(episode.tokens),
        text=episode.text,
    )


def summarise(
    counted: Sequence[Question | vlir.RlRow],
    right: Sequence[bool],
    looks: Sequence[Sequence[str]],
    stops: Sequence[str],
) -> dict[str, Any]:
    """The shares of right answers, and how the model looked: by question, the outcomes of its looks
    and why its episode stopped.

    `looks_per_answer` counts every request, `served_looks` the share of them that gave a crop.
    """
    outcomes = [outcome for one in looks for outcome in one]
    return {
        **look_again.summarise(counted, right),
        "looks_per_answer": len(outcomes) / len(right),
        "served_looks": outcomes.count("ok") / max(1, len(outcomes)),
        "stops": {stop: stops.count(stop) / len(stops) for stop in sorted(set(stops))},
    }


def share_right(predictions: Sequence[Prediction]) -> float:
    return sum(one.right for one in predictions) / len(predictions)


def check_rows(rows: Sequence[vlir.RlRow]) -> None:
    """Raises RowError for a row that the benchmark cannot count; rows may lack tags.looks."""
    for row in rows:
        if "looks" in row.tags and row.tags["looks"] not in look_again.LOOKS:
            raise vlir.RowError(
                f"{row.where}: expected tags.looks to be one of {', '.join(look_again.LOOKS)} "
                f"(how many looks the question needs), found {row.tags['looks']!r}; correct it or "
                "leave the tag out"
            )
