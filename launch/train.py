"""Trains what a config file describes, or goes on where a run in the workdir stopped.

    python launch/train.py --config=configs/look_again_base.py --workdir=runs/base \
        --config.optimizer.learning_rate=1e-3

With --profile it also writes where the time of a step goes to profile/ in the workdir.

The config's kind (pretrain, sft, rgrpo, ...) chooses the loop; every field can be overridden.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import cluster, entry, experiment, train


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
    several = parser.add_argument_group(
        "several hosts",
        "The same command runs on each. On Cloud TPU, GKE and SLURM they find each other; "
        "elsewhere say which one this is.",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where the first host listens")
    several.add_argument("--hosts", type=int, metavar="N", help="how many there are")
    several.add_argument("--host", type=int, metavar="I", help="which one this is, from 0 on")
    several.add_argument(
        "--gone-after",
        type=float,
        default=cluster.Limits.gone,
        metavar="SECONDS",
        help="without a sign of life of another host, stop and name it (%(default)g)",
    )
    several.add_argument(
        "--hung-after",
        type=float,
        default=cluster.Limits.hung,
        metavar="SECONDS",
        help="where another host lives but does not go on, stop and name it (%(default)g)",
    )
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args, overrides = parse(argv)
    return entry.call("train", lambda: run(args, overrides))


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    config = experiment.override(experiment.load(args.config), overrides)
    options = {} if args.profile is None else {"profile": args.profile}
    address = cluster.Address(args.coordinator, args.hosts, args.host)
    with cluster.joined(address, cluster.Limits(args.gone_after, args.hung_after)) as leads:
        written = train.train(config, args.workdir, **options)
        if leads:
            print(f"written: {written}")


if __name__ == "__main__":
    sys.exit(main())
