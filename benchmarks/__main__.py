"""Runs every benchmark and writes docs/performance.md: `python -m benchmarks`, or `make bench`."""

import datetime
import os
import pathlib
import platform

from benchmarks import load, model, page, region, rollout, update


def main() -> None:
    """Measures, prints each table as it comes, and writes the page."""
    parts = [f"{machine()}, {datetime.date.today()}.\n"]
    for run in (model.run, rollout.run, update.run, region.run, load.run):
        parts.append(run().markdown() + "\n")
        print(parts[-1], flush=True)
    page.write_section(page.PAGE, "Beside its peers", "\n".join(parts))


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
