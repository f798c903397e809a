"""What it takes to look at a large file of traces.

    python -m benchmarks.inspection [--rows=100000]

Draws a small world, repeats its traces, each with a name of its own for its image (a hard link),
and runs `launch/build_vlir.py inspect` on them in a process of its own.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

from r3jax.data.world import files

ROOT = pathlib.Path(__file__).parents[1]
DRAWN = 64  # traces of the world


def write(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """A file of so many traces, with their images."""
    files.write_world(folder, 0, {"sft": DRAWN})
    drawn = json.loads((folder / "sft.json").read_text("utf-8"))
    path = folder / "many.json"
    (folder / "many").mkdir()
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = drawn[number % len(drawn)]
            image = f"many/{number}{pathlib.Path(row['image_path']).suffix}"
            os.link(folder / row["image_path"], folder / image)
            begin = "[" if number == 0 else ","
            file.write(begin + json.dumps(row | {"image_path": image, "id": str(number)}) + "\n")
        file.write("]")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Time looking at a large file of traces.")
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = write(pathlib.Path(folder), rows)
        megabytes = path.stat().st_size / 1e6
        command = [sys.executable, "launch/build_vlir.py", "inspect", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{rows:,} rows, {megabytes:.0f} MB: {used.ru_utime + used.ru_stime:.0f} s of CPU, "
        f"{used.ru_maxrss / 1024:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
