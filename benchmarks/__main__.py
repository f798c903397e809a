"""Runs every benchmark and writes docs/performance.md: `python -m benchmarks`, or `make bench`."""

import datetime
import os
import pathlib
import platform

from benchmarks import model, region, rollout, update

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "performance.md"
INTRODUCTION = """# How fast r3jax is

Remade by `make bench`. Both sides of a row do the same work with the same weights, each in a
process of its own, taking turns. `benchmarks/` says what is done and how it is timed.
"""


def main() -> None:
    """Measures, prints each table as it comes, and writes the page."""
    parts = [INTRODUCTION, f"{machine()}, {datetime.date.today()}.\n"]
    for run in (model.run, rollout.run, update.run, region.run):
        parts.append(run().markdown() + "\n")
        print(parts[-1], flush=True)
    PAGE.write_text("\n".join(parts), "utf-8")


def machine() -> str:
    """The processor, its cores, and the system."""
    name = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text("utf-8").splitlines()
        name = next(
            (ln.partition(":")[2].strip() for ln in lines if ln.startswith("model name")), name
        )
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
