"""The command line that every benchmark has: `python -m benchmarks.NAME [--json] [...]`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

from benchmarks.table import Result

DTYPES = ("float32", "bfloat16")


def main(
    run: Callable[..., Result],
    about: str,
    works: Iterable[str] = (),
    dtypes: Sequence[str] = DTYPES,
    may_be_alone: bool = False,
) -> None:
    """Measures and prints; `--json` adds one object on the last line.

    A benchmark of several `works` has `--only` to choose some, one of several `dtypes` has
    `--dtype`, one that `may_be_alone` has `--alone`; `run` is given all.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one object on the last line")
    if dtypes:
        parser.add_argument("--dtype", default=dtypes[0], choices=dtypes)
    parser.add_argument("--repetitions", type=int, default=5, help="of each side, at least")
    if works:
        parser.add_argument("--only", nargs="+", choices=list(works), help="leave other rows out")
    if may_be_alone:
        parser.add_argument("--alone", action="store_true", help="measure r3jax without its peer")
    given = parser.parse_args()
    if given.repetitions < 1:
        sys.exit(f"--repetitions must be at least 1, found {given.repetitions}")
    asked = vars(given)
    as_json = asked.pop("json")
    result = run(**asked)
    print(result.markdown())
    if as_json:
        print(result.json())
