"""Compiles every program of a run for TPU chips that are not there, and says what each needs.

    python launch/plan.py --config=configs/rgrpo_tpu.py:v5e-32 --topology=v5e:4x8

Memory is what the compiler itself allots; times are predictions from what chips can do at best.
Needs the extra tpu: pip install -e '.[tpu]'. Every field of the config can be overridden.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the compiler needs no chip, and looks for none

import argparse
import json
import sys
from collections.abc import Sequence

from r3jax.run import entry, experiment, plan


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags, and what else there is: overrides of the config."""
    parser = argparse.ArgumentParser(
        description="Compile a run for TPU chips that are not there.",
        epilog="Every field can be overridden: --config.rollout.episodes=8",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="experiment file, or FILE:PRESET")
    parser.add_argument("--topology", required=True, help="chips, such as v5e:4x8 or v5p:2x2x4")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--json", action="store_true", help="one JSON object on the last line")
    told.add_argument("--suggest", action="store_true", help="find the largest batch that fits")
    told.add_argument("--layouts", action="store_true", help="how every argument lies on the chips")
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args, overrides = parse(argv)
    return entry.call("plan", lambda: run(args, overrides))


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    config = experiment.override(experiment.load(args.config), overrides)
    if args.suggest:
        name, fits = plan.suggest(config, args.topology, tell)
        print(plan.suggestion(fits, name))
        return
    if args.layouts:
        print("\n".join(plan.layouts(config, args.topology)))
        return
    made = plan.plan(config, args.topology, tell)
    print("\n".join(plan.lines(made)))
    if args.json:
        print(json.dumps(plan.as_json(made)))


def tell(program) -> None:
    """Says what is going on, beside the result."""
    print(f"compiled in {program.seconds:5.1f} s: {program.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
