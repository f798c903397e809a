"""The two sides of a benchmark on the small model: the peer and r3jax, with the same weights."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping

from benchmarks import mini
from benchmarks.side import Side


@contextlib.contextmanager
def pair(theirs: str, ours: str, dtype: str) -> Iterator[tuple[Side, Side]]:
    """Sets both up, each named "module.function" within `peers` and `ours`, and ends them."""
    with sides({"peers": theirs, "ours": ours}, dtype) as started:
        yield started["peers"], started["ours"]


@contextlib.contextmanager
def sides(names: Mapping[str, str], dtype: str) -> Iterator[dict[str, Side]]:
    """As `pair`, for what stands in `names` alone."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        arguments = {"directory": str(mini.write(directory)), "dtype": dtype}
        started = {}
        for side, name in names.items():
            module, _, function = name.partition(".")
            one = Side(f"benchmarks.{side}.{module}", function, arguments)
            started[side] = stack.enter_context(one)
        yield started
