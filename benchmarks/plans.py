"""Plans of the TPU configs for the slices that they are meant for, written into docs/tpu.md.

    python -m benchmarks.plans                       # all of them: `make plan`
    python -m benchmarks.plans rgrpo_tpu:v5e-32      # some

Nothing is measured: the compiler of TPUs says what fits, the rest are predictions.
"""

import argparse
import pathlib
import subprocess
import sys

from benchmarks import page

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tpu.md"
TOPOLOGIES = {
    "v4-32": "v4:4x4x2",
    "v5e-32": "v5e:4x8",
    "v5p-16": "v5p:2x2x4",
    "v6e-16": "v6e:4x4",
    "v5p-64": "v5p:4x4x4",
    "v5p-128": "v5p:4x4x8",
}
NAMES = tuple(f"{config}:{preset}" for config in ("rgrpo_tpu", "sft_tpu") for preset in TOPOLOGIES)


def command(name: str) -> list[str]:
    """What makes a plan, as its section shows it; `name` is CONFIG:PRESET."""
    config, _, preset = name.partition(":")
    flags = f"--config=configs/{config}.py:{preset}", f"--topology={TOPOLOGIES[preset]}"
    return ["launch/plan.py", *flags]


def main() -> None:
    """Makes each plan in a process of its own, and writes its section as soon as it is there."""
    parser = argparse.ArgumentParser(description="Plan the TPU configs.")
    parser.add_argument("names", nargs="*", help=f"CONFIG:PRESET, by default all: {NAMES}")
    for name in parser.parse_args().names or NAMES:
        if name not in NAMES:
            parser.error(f"{name} is none of {', '.join(NAMES)}")
        done = subprocess.run(
            [sys.executable, *command(name)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"{name}: no plan, the command ended with {done.returncode}")
        shown = f"`python {' '.join(command(name))}`:"
        page.write_section(PAGE, name.replace(":", ", "), f"{shown}\n\n{done.stdout}")
        print(f"{name}: written to {PAGE.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main()
