"""Evaluates a model on a benchmark; stopped, the same command goes on.

    python launch/evaluate.py --model=runs/look_again/export --benchmark=look_again \
        --output=runs/look_again/evaluation

Writes predictions.jsonl (a line a question) and results.json, and prints the shares right.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import benchmark, entry

BENCHMARKS = {"look_again": benchmark.run}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Evaluate a model on a benchmark.", allow_abbrev=False
    )
    parser.add_argument("--model", required=True, help="Hugging Face directory of the model")
    parser.add_argument("--benchmark", required=True, choices=sorted(BENCHMARKS))
    parser.add_argument("--output", required=True, help="directory of predictions and results")
    parser.add_argument("--data", help="RL-format questions; default: the held-out test split")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=0, help="for a temperature above 0")
    parser.add_argument("--limit", type=int, help="ask only the first so many questions")
    parser.add_argument("--batch", type=int, default=32, help="questions at a time")
    parser.add_argument(
        "--max_text_tokens", type=int, default=1024, help="room for text beside the looks"
    )
    entry.add_dtype(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return entry.call("evaluate", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(args).items() if name != "benchmark"}
    results = BENCHMARKS[args.benchmark](**options)
    for name, (low, high) in results["intervals"].items():
        print(f"{name:10} {results[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    print(f"{results['count']} questions; {args.output}/{benchmark.RESULTS}")


if __name__ == "__main__":
    sys.exit(main())
