"""Where the time of a training step goes: named phases that share it out, nothing left over.

    with span(Phase.DECODE) as done:
        state = done(run.decode(policy, state, until))

Unless a `Recorder` listens, a span does nothing and `done` returns what it is given: JAX runs ahead
of Python as always. While one does, `done` waits for the device, so that its work is counted where
it was asked for and not where its result is first looked at.

The recorder is found through a context variable, where this package otherwise passes arguments:
spans stand deep in code that evaluation and inference call too, and every signature on the way
would carry a recorder for the sake of a clock. Nothing but spans reads it and no result depends on
it. Threads that load data ahead have a context of their own: their work beside a step is not
counted as time of the step.
"""

import contextlib
import contextvars
import dataclasses
import enum
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax

Result = TypeVar("Result")


class Phase(enum.StrEnum):
    """What a step's time can go to, in the order of a step."""

    DATA = "data"
    PREFILL = "prefill"
    DECODE = "decode"
    LOOKS = "looks"
    REWARDS = "rewards"
    LOG_PROBS = "log-probs"
    UPDATE = "update"
    CHECKPOINT = "checkpoint"
    IDLE = "idle"  # outside of all spans


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """Seconds that a step spent in each phase, and how often it came to it."""

    step: int
    seconds: Mapping[Phase, float]
    calls: Mapping[Phase, int]


class Recorder:
    """Shares the time from its making on out among the phases.

    A span inside another one stops the outer one's clock: a second belongs to one phase.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._seconds = dict.fromkeys(Phase, 0.0)
        self._calls = dict.fromkeys(Phase, 0)
        self._open = [Phase.IDLE]
        self._counted = clock()  # all time before this is in _seconds

    def times(self, step: int) -> StepTimes:
        """Returns what was counted until now, as that of `step`."""
        self._count()
        return StepTimes(step, dict(self._seconds), dict(self._calls))

    @contextlib.contextmanager
    def span(self, phase: Phase) -> Iterator[Callable[[Result], Result]]:
        """Counts the time of a block for `phase`, and names it in a trace of the JAX profiler."""
        self._count()
        self._calls[phase] += 1
        self._open.append(phase)
        try:
            with jax.profiler.TraceAnnotation(phase.value):
                yield jax.block_until_ready
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = self._clock()
        self._seconds[self._open[-1]] += now - self._counted
        self._counted = now


_listening: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar(
    "listening", default=None
)


def _unchanged(result: Result) -> Result:
    return result


_NO_SPAN = contextlib.nullcontext(_unchanged)


def span(phase: Phase) -> contextlib.AbstractContextManager[Callable[[Result], Result]]:
    """A block whose time belongs to `phase`, if a recorder listens.

    Hand what the block computes on a device to the function that it gives.

    >>> with span(Phase.UPDATE) as done:
    ...     done(3)
    3
    """
    recorder = _listening.get()
    return _NO_SPAN if recorder is None else recorder.span(phase)


@contextlib.contextmanager
def listening(recorder: Recorder) -> Iterator[None]:
    """Lets `recorder` hear the spans of this thread."""
    token = _listening.set(recorder)
    try:
        yield
    finally:
        _listening.reset(token)
