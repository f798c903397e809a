"""Evaluates a model on a benchmark; stopped, the same command goes on.

    python launch/evaluate.py --model=runs/look_again/export --benchmark=look_again \
        --output=runs/look_again/evaluation
    python launch/evaluate.py --model=models/Qwen2.5-VL-7B-Instruct --benchmark=MMStar \
        --data=data/MMStar --output=runs/mmstar

`--endpoint=URL` asks a model behind an OpenAI-compatible endpoint instead, `--predictions=FILE`
scores what was answered elsewhere. Writes predictions.jsonl (a line a question) and results.json,
and prints the numbers that are reported.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import entry, evaluation


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Evaluate a model on a benchmark.", allow_abbrev=False
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--model", help="Hugging Face directory of the model")
    asked.add_argument("--endpoint", help="address of an OpenAI-compatible endpoint, up to /v1")
    asked.add_argument("--predictions", help="rows with what was answered, by id or in order")
    parser.add_argument("--benchmark", required=True, help=", ".join(evaluation.names()))
    parser.add_argument("--output", required=True, help="directory of predictions and results")
    parser.add_argument(
        "--data", help="file or folder of questions; look_again: default, the held-out test split"
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=0, help="of sampling and shuffled options")
    parser.add_argument("--limit", type=int, help="ask only the first so many questions")
    parser.add_argument("--options", default="given", choices=evaluation.ORDERS)
    parser.add_argument("--repeats", type=int, default=1, help="times that all is asked (Avg@k)")
    parser.add_argument("--instruction", help="what follows each question; default: the model's")
    parser.add_argument("--image_tokens", help="fewest and most of an image, as 32,8192")
    judge = parser.add_argument_group("a judge of answers that rules cannot read")
    judge.add_argument("--judge", help="address of an OpenAI-compatible endpoint, up to /v1")
    judge.add_argument("--judge_model", help="its name there")
    judge.add_argument("--judge_key", default="", help="environment variable with its key")
    local = parser.add_argument_group("with --model")
    local.add_argument("--batch", type=int, default=32, help="questions at a time")
    local.add_argument("--max_looks", type=int, help="default: what the model's format says")
    local.add_argument(
        "--max_text_tokens", type=int, default=1024, help="room for text beside the looks"
    )
    entry.add_dtype(local)
    remote = parser.add_argument_group("with --endpoint")
    remote.add_argument("--endpoint_model", help="the model's name there")
    remote.add_argument("--endpoint_key", default="", help="environment variable with its key")
    remote.add_argument("--at_once", type=int, default=16, help="requests at a time")
    remote.add_argument("--timeout", type=float, default=300.0, help="seconds for a request")
    remote.add_argument("--max_tokens", type=int, default=4096, help="of a reply")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return entry.call("evaluate", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    fields = {name: value for name, value in vars(args).items() if name != "output"}
    found = evaluation.run(evaluation.Evaluation(**fields), args.output)
    print("\n".join(evaluation.describe(found)))
    print(f"{found['count']} questions; {args.output}/results.json")


if __name__ == "__main__":
    sys.exit(main())
