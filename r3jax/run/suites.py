"""What is asked in an evaluation: the questions of a benchmark, how replies are scored, and what is
made of the scores."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from r3jax import paths
from r3jax.data import chat, images, traces, vlir
from r3jax.evaluate import benchmarks, look_again, prompts, readers, replies, results
from r3jax.evaluate.items import Item
from r3jax.evaluate.prompts import Asking, Order
from r3jax.records import Question, Verdict
from r3jax.reward import judge
from r3jax.reward.judge import Judge, JudgeRequest
from r3jax.run import evaluate, origins

Line = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back: the whole text, the outcomes of its looks in order, why it ended and how many
    tokens it has, where that is known."""

    text: str
    looks: tuple[str, ...] = ()
    stop: str = ""
    num_tokens: int = 0


class Suite(Protocol):
    """Questions by number. `settings` say what is asked, and how; `ids` name each time. All are
    asked once, then again, `repeats` times; none has more than `most_images`."""

    settings: Mapping[str, Any]
    ids: Sequence[str]
    repeats: int
    most_images: int

    def question(self, number: int, form: chat.ChatFormat) -> Question:
        """A question with its images opened."""

    def line(self, number: int, reply: Reply) -> Line:
        """A reply to a question, scored by rules: a line of predictions.jsonl."""

    def judged(self, lines: Sequence[Line]) -> Sequence[Line]:
        """The lines of all questions with what a judge decides of them, if there is one."""

    def summarise(self, lines: Sequence[Line]) -> Line:
        """The content of results.json, from the lines of all questions."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """The questions of a published benchmark, each asked once or more often. A `judge`, whose name
    results state, decides what the rules cannot."""

    name: str
    questions: str  # the fingerprint of all that the files hold
    askings: Sequence[Asking]
    order: Order
    seed: int
    repeats: int
    judge: Judge | None = None
    judge_name: str = ""

    @functools.cached_property
    def ids(self) -> Sequence[str]:
        return [asking.id for asking in self.askings]

    @functools.cached_property
    def settings(self) -> Mapping[str, Any]:
        return {
            "benchmark": self.name,
            "questions": self.questions,
            "options": self.order.value,
            "seed": self.seed,
            "repeats": self.repeats,
        }

    @property
    def most_images(self) -> int:
        return max(len(asking.item.images) for asking in self.askings)

    def question(self, number: int, form: chat.ChatFormat) -> Question:
        """Raises: ValueError naming file and row where an image cannot be used."""
        asking = self.askings[number]
        turn, order = prompts.turn_of(asking.parts, form.instruction)
        try:
            shown = tuple(images.open_image(asking.item.images[place]) for place in order)
        except images.ImageError as error:
            raise ValueError(f"{asking.item.where}: {error}") from error
        return Question(asking.id, asking.text, shown, asking.gold, self.name, turns=(turn,))

    def line(self, number: int, reply: Reply) -> Line:
        """A thought that was broken off gives no answer."""
        asking = self.askings[number]
        broken_off = replies.ends_in_thought(reply.text)
        answer = "" if broken_off else replies.answer_of(reply.text)
        return {
            "id": asking.id,
            "question": asking.text,
            "answer": answer,
            "gold": asking.gold,
            "score": benchmarks.score(self.name, answer, asking.sample),
            "judged": False,
            **_how(reply),
        }

    def judged(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Asks the judge in one call; what it cannot say stays wrong."""
        if self.judge is None:
            return lines
        open_to = [
            at
            for at, (asking, line) in enumerate(zip(self.askings, lines, strict=True))
            if results.may_be_judged(self.name, asking, line["answer"], line["score"])
        ]
        requests = [
            JudgeRequest(self.askings[at].text, self.askings[at].gold, lines[at]["answer"])
            for at in open_to
        ]
        decided = dict(zip(open_to, judge.ask(self.judge, requests), strict=True))
        return [self._decided(line, decided.get(at)) for at, line in enumerate(lines)]

    def _decided(self, line: Line, verdict: Verdict | None) -> Line:
        if verdict is None:
            return line
        judged = None if verdict is Verdict.UNKNOWN else True
        return {**line, "judged": judged, "score": float(verdict is Verdict.RIGHT)}

    def summarise(self, lines: Sequence[Line]) -> Line:
        found = results.summarise(self.name, self.askings, self.repeats, lines)
        return {"benchmark": self.name, **found, "judge": self.judge_name}


def read_benchmark(
    name: str,
    data: str | Path,
    order: Order = Order.GIVEN,
    seed: int = 0,
    repeats: int = 1,
    limit: int | None = None,
    decides: Judge | None = None,
    judge_name: str = "",
) -> Benchmark:
    """The questions of a benchmark in files; with `limit` the first so many of them.

    Raises: ValueError for what no benchmark can be read from, or no numbers be made of.
    """
    items = readers.read(name, data)
    name = benchmarks.find(name).name
    asked = prompts.askings(items[:limit], order, seed, repeats)
    results.check_fields(name, asked[: len(asked) // repeats])
    return Benchmark(name, _fingerprint(items), asked, order, seed, repeats, decides, judge_name)


@dataclasses.dataclass(frozen=True)
class LookAgain:
    """Questions in RL format, counted by number of looks and by family."""

    rows: Sequence[vlir.RlRow]
    questions: str  # the fingerprint of their file
    seed: int = 0
    repeats = most_images = 1

    @functools.cached_property
    def ids(self) -> Sequence[str]:
        return [row.id for row in self.rows]

    @functools.cached_property
    def settings(self) -> Mapping[str, Any]:
        return {"benchmark": "look_again", "questions": self.questions, "seed": self.seed}

    def question(self, number: int, form: chat.ChatFormat) -> Question:
        return traces.load_question(self.rows[number], form.image_bounds)

    def line(self, number: int, reply: Reply) -> Line:
        """Scored by the rules that judge rollouts."""
        row = self.rows[number]
        answer = chat.answer_in(reply.text)
        return {
            "id": row.id,
            "question": row.question,
            "answer": answer,
            "gold": row.answer,
            "score": float(look_again.is_right(row, answer)),
            **_how(reply),
        }

    def judged(self, lines: Sequence[Line]) -> Sequence[Line]:
        """There is no judge."""
        return lines

    def summarise(self, lines: Sequence[Line]) -> Line:
        return evaluate.summarise(
            self.rows,
            [line["score"] == 1 for line in lines],
            [line["looks"] for line in lines],
            [line["stop"] for line in lines],
        )


def read_look_again(data: str | Path, seed: int = 0, limit: int | None = None) -> LookAgain:
    """Questions of a file in RL format; with `limit` the first so many of them."""
    rows, _ = vlir.read_rl(data, paths.of(data).parent)
    evaluate.check_rows(rows)
    return LookAgain(rows[:limit], origins.fingerprint_data(data), seed)


def _how(reply: Reply) -> Line:
    return {
        "looks": list(reply.looks),
        "stop": reply.stop,
        "num_tokens": reply.num_tokens,
        "text": reply.text,
    }


def _fingerprint(items: Sequence[Item]) -> str:
    """SHA-256 of what is said to ask them; images are not read."""
    digest = hashlib.sha256()
    for item in items:
        said = item.id, Asking(item, item.id).text, item.sample
        digest.update(json.dumps(said, sort_keys=True, default=str).encode())
    return digest.hexdigest()
