"""The two sides of a benchmark on the small model: the peer and r3jax, with the same weights."""

import contextlib
import tempfile
from collections.abc import Iterator

from benchmarks import mini
from benchmarks.side import Side


@contextlib.contextmanager
def pair(theirs: str, ours: str, dtype: str) -> Iterator[tuple[Side, Side]]:
    """Sets both up, each named "module.function" within `peers` and `ours`, and ends them."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = {"directory": str(mini.write(directory)), "dtype": dtype}
        peer, own = (
            (f"benchmarks.{side}.{name.partition('.')[0]}", name.partition(".")[2], arguments)
            for side, name in (("peers", theirs), ("ours", ours))
        )
        with Side(*peer) as one, Side(*own) as other:
            yield one, other
