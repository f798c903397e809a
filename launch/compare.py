"""Evaluates several models on several benchmarks and makes one table of it.

    python launch/compare.py --config=configs/comparison.py --output=runs/comparison

Stopped, the same command goes on. The table is OUTPUT/table.md; every field of the config can be
overridden (--config.common.limit=100).
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax import config
from r3jax.run import comparison, entry, experiment


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare models.", allow_abbrev=False)
    parser.add_argument("--config", required=True, help="file of models and benchmarks")
    parser.add_argument("--output", required=True, help="directory of evaluations and the table")
    args, overrides = parser.parse_known_args(argv)
    return entry.call("compare", lambda: run(args, overrides))


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    values = experiment.override(experiment.load(args.config), overrides)
    asked = config.build(comparison.Comparison, values)
    problems = comparison.run(asked, args.output)
    print(f"written: {args.output}/{comparison.TABLE}")
    if problems:
        raise SystemExit("\n".join(["not everything was answered:", *problems]))


if __name__ == "__main__":
    sys.exit(main())
