"""Trains what a config file describes, or goes on where a run in the workdir stopped.

    python launch/train.py --config=configs/look_again_base.py --workdir=runs/base \
        --config.optimizer.learning_rate=1e-3

With --profile it also writes where the time of a step goes to profile/ in the workdir.

The config's kind (pretrain, sft, rgrpo, ...) chooses the loop; every field can be overridden.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import entry, experiment, train


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags, and what else there is: overrides of the config."""
    parser = argparse.ArgumentParser(
        description="Train what a config file describes.",
        epilog="Every field can be overridden: --config.optimizer.learning_rate=3e-7",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="experiment file")
    parser.add_argument("--workdir", required=True, help="directory of the run")
    parser.add_argument(
        "--profile",
        nargs="?",
        type=int,
        const=3,
        metavar="STEPS",
        help="time so many steps (3), phase by phase, and trace one: WORKDIR/profile",
    )
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args, overrides = parse(argv)
    return entry.call("train", lambda: run(args, overrides))


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    config = experiment.override(experiment.load(args.config), overrides)
    options = {} if args.profile is None else {"profile": args.profile}
    print(f"written: {train.train(config, args.workdir, **options)}")


if __name__ == "__main__":
    sys.exit(main())
