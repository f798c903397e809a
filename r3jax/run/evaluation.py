"""An evaluation as the command line says it: what is asked, of whom, and what is told of it."""

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


def names() -> list[str]:
    """What can be asked."""
    return [LOOK_AGAIN, *readers.READERS]


def run(
    benchmark: str,
    output: str | Path,
    model: str | Path | None = None,
    endpoint: str | None = None,
    predictions: str | Path | None = None,
    data: str | Path | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    limit: int | None = None,
    options: str = Order.GIVEN,
    repeats: int = 1,
    instruction: str | None = None,
    image_tokens: str | None = None,
    judge: str | None = None,
    judge_model: str | None = None,
    judge_key: str = "",
    batch: int = 32,
    max_looks: int | None = None,
    max_text_tokens: int = 1024,
    dtype: Dtype = "float32",
    endpoint_model: str | None = None,
    endpoint_key: str = "",
    at_once: int = 16,
    timeout: float = 300.0,
    max_tokens: int = 4096,
) -> dict[str, Any]:
    """Evaluates as launch/evaluate.py documents it; prints and returns results.json.

    Raises: ValueError for what cannot be asked, naming the flag.
    """
    for name, value in (("batch", batch), ("limit", limit), ("repeats", repeats)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, found {value}")
    if repeats > 1 and temperature == 0 and predictions is None:
        raise ValueError(f"repeats={repeats} of greedy answers are equal: set a temperature")
    output = paths.of(output)
    changed = _changed(instruction, image_tokens, max_looks)
    judged_by = _judge(judge, judge_model, judge_key, output)
    if benchmark == LOOK_AGAIN:
        suite = _look_again(data, seed, limit, output, options, repeats, judge)
    elif data is None:
        raise ValueError(f"{benchmark}: name the file or folder of its questions with --data")
    else:
        order = Order(options)
        suite = suites.read_benchmark(benchmark, data, order, seed, repeats, limit, judged_by)
    if model is not None:
        asker = ask_model.load_model(
            model, temperature, seed, batch, max_text_tokens, dtype, changed
        )
    elif endpoint is not None:
        if not endpoint_model:
            raise ValueError("endpoint: name the model there with --endpoint_model")
        config = EndpointConfig(
            endpoint, endpoint_model, endpoint_key, temperature, max_tokens, at_once, timeout
        )
        asker = _remote(config, changed, output)
    else:
        asker = ask_elsewhere.File(Path(predictions))
    return _run(suite, asker, output)


def _run(suite: Suite, asker: Asker, output: Path) -> dict[str, Any]:
    found = benchmark.run(suite, asker, output)
    print("\n".join(describe(found)))
    print(f"{found['count']} questions; {output}/{benchmark.RESULTS}")
    return found


def describe(found: Mapping[str, Any]) -> list[str]:
    """The numbers of results.json for a terminal, a line each."""
    if "scores" not in found:
        return [
            f"{name:10} {found[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})"
            for name, (low, high) in found["intervals"].items()
        ]
    width = max(map(len, ("95 % interval", *found["scores"])))
    low, high = found["interval"]
    lines = [f"{name:{width}} {value:6.2f}" for name, value in found["scores"].items()]
    lines.append(f"{'mean':{width}} {found['mean']:6.2f}  (95 % interval {low:.2f} to {high:.2f})")
    if found["judged"]:
        lines.append(f"{found['judged']:.1%} of the answers were decided by the judge")
    if found["judge_failed"]:
        lines.append(f"{found['judge_failed']:.1%} count as wrong, as the judge said nothing")
    if found["unanswered"]:
        lines.append(f"{found['unanswered']:.1%} of the replies hold no answer")
    return lines


def _changed(
    instruction: str | None, image_tokens: str | None, max_looks: int | None
) -> dict[str, Any]:
    """What of the chat format is to be another."""
    changed: dict[str, Any] = {}
    if instruction is not None:
        changed["instruction"] = instruction
    if max_looks is not None:
        changed["max_looks"] = max_looks
    if image_tokens is not None:
        try:
            fewest, most = (int(part) for part in image_tokens.split(","))
        except ValueError as error:
            raise ValueError(
                f"image_tokens: expected fewest and most, as 32,8192, found {image_tokens!r}"
            ) from error
        changed["image_tokens"] = [fewest, most]
    return changed


def _look_again(
    data: str | Path | None,
    seed: int,
    limit: int | None,
    output: Path,
    options: str,
    repeats: int,
    judge: str | None,
) -> Suite:
    if options != Order.GIVEN or repeats > 1 or judge:
        raise ValueError(f"{LOOK_AGAIN} has no options, is asked once and needs no judge")
    data = data or benchmark.draw_test_split(output / "data")
    return suites.read_look_again(data, seed, limit)


def _remote(config: EndpointConfig, changed: Mapping[str, Any], output: Path) -> Asker:
    form = chat.ChatFormat(system=None, instruction=INSTRUCTION)
    folder = None if paths.in_bucket(output) else output
    return ask_elsewhere.Remote(config, ask_model.change(form, changed), folder)


def _judge(url: str | None, model: str | None, key: str, output: Path) -> EndpointJudge | None:
    if url is None:
        return None
    if not model:
        raise ValueError("judge: name the model there with --judge_model")
    kept = "" if paths.in_bucket(output) else str(output / "judge.sqlite")
    endpoint = EndpointConfig(url, model, key, kept=kept)
    return EndpointJudge(JudgeConfig(endpoint))
