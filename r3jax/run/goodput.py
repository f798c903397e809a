"""Which share of its time a run has spent on steps."""

import time
from collections.abc import Callable

from r3jax.compiles import CompileCounter


class Goodput:
    """The share of the time since it was made that steps took: compiling within them, restoring,
    checkpoints and reports are not in it. `compiles` counts along."""

    def __init__(self, compiles: CompileCounter, now: Callable[[], float] = time.monotonic):
        self._compiles, self._now = compiles, now
        self._made, self._useful = now(), 0.0

    def begin(self) -> None:
        """A step begins."""
        self._began, self._compiled = self._now(), self._compiles.seconds

    def end(self) -> float:
        """The step is done; returns the share so far."""
        now = self._now()
        self._useful += now - self._began - (self._compiles.seconds - self._compiled)
        return self._useful / (now - self._made)
