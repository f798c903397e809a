"""Plans of the TPU configs for the slices that they are meant for, written into docs/tpu.md.

    python -m benchmarks.plans                       # all of them: `make plan`
    python -m benchmarks.plans rgrpo_tpu:v5e-32      # some
    python -m benchmarks.plans scaling               # one config on more and more chips

Nothing is measured: the compiler of TPUs says what fits, the rest are predictions.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

from benchmarks import page
from r3jax.view import columns

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
ONE_CHIP = "v5e:1x1"
SCALING = "scaling"
NAMES = (
    *(f"{config}:{preset}" for config in ("rgrpo_tpu", "sft_tpu") for preset in TOPOLOGIES),
    *(f"colab_tpu:{preset}" for preset in ("rgrpo", "sft")),
    SCALING,
)
SCALED = {16: "v5p:2x2x4", 32: "v5p:2x4x4", 64: "v5p:4x4x4", 128: "v5p:4x4x8", 256: "v5p:4x8x8"}
"""Slices of so many chips, on each of which a step has as many questions."""


def command(name: str) -> list[str]:
    """What makes a plan, as its section shows it; `name` is CONFIG:PRESET."""
    config, _, preset = name.partition(":")
    topology = TOPOLOGIES.get(preset, ONE_CHIP)
    return ["launch/plan.py", f"--config=configs/{config}.py:{preset}", f"--topology={topology}"]


def scaled(chips: int) -> list[str]:
    """What makes the plan of R-GRPO on so many v5p chips."""
    config, topology = "--config=configs/rgrpo_tpu.py:v5p-16", f"--topology={SCALED[chips]}"
    fields = {"mesh.fsdp": chips, "rollout.questions": chips, "buckets.fill": "(1.0,)"}
    more = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["launch/plan.py", config, topology, *more, "--json"]


def main() -> None:
    """Makes each plan in a process of its own, and writes its section as soon as it is there."""
    parser = argparse.ArgumentParser(description="Plan the TPU configs.")
    parser.add_argument("names", nargs="*", help=f"by default all: {', '.join(NAMES)}")
    for name in parser.parse_args().names or NAMES:
        if name not in NAMES:
            parser.error(f"{name} is none of {', '.join(NAMES)}")
        write(name)
        print(f"{name}: written to {PAGE.relative_to(ROOT)}", flush=True)


def write(name: str) -> None:
    """Makes a section of the page anew."""
    if name == SCALING:
        steps = {chips: json.loads(run(scaled(chips)).splitlines()[-1]) for chips in SCALED}
        page.write_section(
            PAGE, f"rgrpo_tpu, 7B, {min(SCALED)} to {max(SCALED)} chips", table(steps)
        )
        return
    shown = f"`python {' '.join(command(name))}`:"
    page.write_section(PAGE, name.replace(":", ", "), f"{shown}\n\n{run(command(name))}")


def run(arguments: list[str]) -> str:
    """What a plan prints."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: no plan, the command ended with {done.returncode}")
    return done.stdout


def table(plans: dict[int, dict]) -> str:
    """Plans of one config on more and more chips, a line each."""
    head = "v5p chips", "questions a step", "a step", "tokens a second", "MFU", "waiting", "left"
    rows = [(str(chips), str(chips), *_figures(one["step"])) for chips, one in plans.items()]
    return "\n".join(
        [
            "Predictions, with a question a chip; waiting is the share of a step's time that is",
            "spent on other chips, MFU the share of the chips' FLOPs that an update uses. A line",
            f"is `python {shlex.join(scaled(min(SCALED)))}` or the same with more chips",
            "(`python -m benchmarks.plans scaling`).",
            "",
            *columns.aligned([head, *rows]),
        ]
    )


def _figures(step: dict | None) -> tuple[str, ...]:
    if step is None:
        return ("does not fit", *[""] * 4)
    shares = (f"{step[name]:.0%}" for name in ("update_mfu", "collective_share", "headroom"))
    return f"{step['step_s']:.1f} s", f"{step['tokens_per_s']:,.0f}", *shares


if __name__ == "__main__":
    main()
