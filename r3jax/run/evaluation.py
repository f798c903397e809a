"""An evaluation as the command line or a file says it: what is asked, of whom, and what is told."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3jax import paths
from r3jax.data import chat
from r3jax.endpoint import EndpointConfig
from r3jax.evaluate import readers
from r3jax.evaluate.prompts import Order
from r3jax.model.layers import Dtype
from r3jax.reward.endpoint_judge import EndpointJudge, JudgeConfig
from r3jax.run import ask_elsewhere, ask_model, benchmark, suites
from r3jax.run.benchmark import Asker
from r3jax.run.suites import Suite

LOOK_AGAIN = "look_again"
ORDERS = tuple(Order)
INSTRUCTION = "Reason step by step, then give only the final answer inside <answer></answer>."
"""What follows a question to a model behind an endpoint, which has no looks."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A benchmark whose questions are in `data`, and who is asked: a `model` directory, the
    `endpoint_model` behind an `endpoint`, or a file of `predictions`.

    Fields are the flags of launch/evaluate.py, which says what each is.
    Raises: ValueError for what cannot be asked, naming the field.
    """

    benchmark: str
    data: str | None = None
    model: str | None = None
    endpoint: str | None = None
    predictions: str | None = None
    temperature: float = 0.0
    seed: int = 0
    limit: int | None = None
    options: str = Order.GIVEN.value
    repeats: int = 1
    instruction: str | None = None
    image_tokens: str | None = None
    judge: str | None = None
    judge_model: str | None = None
    judge_key: str = ""
    batch: int = 32
    max_looks: int | None = None
    max_text_tokens: int = 1024
    dtype: Dtype = "float32"
    endpoint_model: str | None = None
    endpoint_key: str = ""
    at_once: int = 16
    timeout: float = 300.0
    max_tokens: int = 4096

    def __post_init__(self):
        if sum(one is not None for one in (self.model, self.endpoint, self.predictions)) != 1:
            raise ValueError("expected one of model, endpoint and predictions: who is asked")
        for name in ("batch", "limit", "repeats"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        if self.options not in ORDERS:
            raise ValueError(f"options: expected one of {', '.join(ORDERS)}, found {self.options}")
        if self.repeats > 1 and self.temperature == 0 and self.predictions is None:
            raise ValueError(f"repeats={self.repeats}: greedy answers are equal, set a temperature")
        for name in ("endpoint", "judge"):
            if getattr(self, name) is not None and not getattr(self, f"{name}_model"):
                raise ValueError(f"{name}: name the model there as {name}_model")
        self._check_effect()
        if self.benchmark == LOOK_AGAIN:
            if self.options != Order.GIVEN or self.repeats > 1 or self.judge:
                raise ValueError(f"{LOOK_AGAIN} has no options, is asked once, needs no judge")
        elif self.data is None:
            raise ValueError(f"{self.benchmark}: name the file or folder of its questions as data")

    def _check_effect(self) -> None:
        """Raises ValueError for a field that would change nothing."""
        unheard = []
        if self.predictions is not None:
            unheard = ["temperature", "instruction", "image_tokens", "max_looks"]
        elif self.endpoint is not None:
            unheard = ["max_looks"]
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in unheard:
            if getattr(self, name) != defaults[name]:
                asked = "predictions" if self.predictions is not None else "endpoint"
                raise ValueError(f"{name} changes nothing where {asked} is given: leave it out")


def names() -> list[str]:
    """What can be asked."""
    return [LOOK_AGAIN, *readers.READERS]


def run(asked: Evaluation, output: str | Path) -> dict[str, Any]:
    """Asks what the output does not hold yet; returns the content of results.json."""
    output = paths.of(output)
    suite = _suite(asked, output)
    return benchmark.run(suite, _asker(asked, output), output)


def _suite(asked: Evaluation, output: Path) -> Suite:
    if asked.benchmark == LOOK_AGAIN:
        data = asked.data or benchmark.draw_test_split(output / "data")
        return suites.read_look_again(data, asked.seed, asked.limit)
    judge = None
    if asked.judge is not None:
        kept = "" if paths.in_bucket(output) else str(output / "judge.sqlite")
        config = EndpointConfig(asked.judge, asked.judge_model, asked.judge_key, kept=kept)
        judge = EndpointJudge(JudgeConfig(config, pause_above=1.0))  # it never waits for long
    return suites.read_benchmark(
        asked.benchmark,
        asked.data,
        Order(asked.options),
        asked.seed,
        asked.repeats,
        asked.limit,
        judge,
        f"{asked.judge_model} at {asked.judge}" if judge else "",
    )


def _asker(asked: Evaluation, output: Path) -> Asker:
    if asked.predictions is not None:
        return ask_elsewhere.File(Path(asked.predictions))
    changed = _changed(asked)
    if asked.model is not None:
        return ask_model.of_directory(
            asked.model,
            asked.temperature,
            asked.seed,
            asked.batch,
            asked.max_text_tokens,
            asked.dtype,
            changed,
        )
    config = EndpointConfig(
        asked.endpoint,
        asked.endpoint_model,
        asked.endpoint_key,
        asked.temperature,
        asked.max_tokens,
        asked.at_once,
        asked.timeout,
    )
    rules = dataclasses.replace(chat.ChatFormat().look_rules, max_looks=0)
    form = chat.ChatFormat(system=None, instruction=INSTRUCTION, look_rules=rules)
    folder = None if paths.in_bucket(output) else output
    return ask_elsewhere.Remote(config, ask_model.change(form, changed), folder)


def _changed(asked: Evaluation) -> dict[str, Any]:
    """What of the chat format is to be another."""
    changed: dict[str, Any] = {}
    if asked.instruction is not None:
        changed["instruction"] = asked.instruction
    if asked.max_looks is not None:
        changed["max_looks"] = asked.max_looks
    if asked.image_tokens is not None:
        try:
            fewest, most = (int(part) for part in asked.image_tokens.split(","))
        except ValueError as error:
            raise ValueError(
                f"image_tokens: expected fewest and most, as 32,8192, found {asked.image_tokens!r}"
            ) from error
        changed["image_tokens"] = [fewest, most]
    return changed


def describe(found: Mapping[str, Any]) -> list[str]:
    """The numbers of results.json for a terminal, a line each."""
    if "scores" not in found:
        return [
            f"{name:10} {found[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})"
            for name, (low, high) in found["intervals"].items()
        ]
    width = max(map(len, ("mean", *found["scores"])))
    low, high = found["interval"]
    lines = [f"{name:{width}} {value:6.2f}" for name, value in found["scores"].items()]
    lines.append(f"{'mean':{width}} {found['mean']:6.2f}  (95 % interval {low:.2f} to {high:.2f})")
    if found["judged"]:
        lines.append(f"{found['judged']:.1%} of the answers were decided by the judge")
    if found["judge_failed"]:
        lines.append(f"{found['judge_failed']:.1%} count as wrong, as the judge said nothing")
    if found["refused"]:
        lines.append(f"{found['refused']:.1%} of the questions were refused, and count as wrong")
    if found["unanswered"]:
        lines.append(f"{found['unanswered']:.1%} of the replies hold no answer")
    return lines
