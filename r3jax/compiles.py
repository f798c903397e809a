"""What is lowered and compiled: results known ahead, and a count that proves that a warm run
compiles nothing."""

import threading

import jax
from jax import monitoring

_EVENT = "/jax/core/compile/backend_compile_duration"


def returned(lowered: jax.stages.Lowered):
    """The shapes of what a program returns, and where they lie: known before it is compiled."""
    return jax.tree.map(
        lambda out: jax.ShapeDtypeStruct(out.shape, out.dtype, sharding=out.sharding),
        lowered.out_info,
    )


class CompileCounter:
    """Counts programs that XLA compiles while the counter is open.

    >>> with CompileCounter() as counter:
    ...     pass
    >>> counter.count
    0
    """

    def __init__(self):
        self.count = 0
        self.seconds = 0.0
        self._lock = threading.Lock()  # programs may compile on several threads

    def __enter__(self) -> "CompileCounter":
        monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *exception: object) -> None:
        monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_s: float, **details: object) -> None:
        if event == _EVENT:
            with self._lock:
                self.count += 1
                self.seconds += duration_s
