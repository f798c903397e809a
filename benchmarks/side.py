"""A side of a comparison: a process that sets itself up once, then does named work on request."""

import importlib
import multiprocessing
import os
import resource
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from benchmarks.timing import Repetition

# Makes glibc keep freed memory: without it half of PyTorch's time on CPU goes into page faults.
# r3jax does the same for itself (r3jax.host), so that neither side is measured at a disadvantage.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "1073741824",
}


class Side:
    """A process whose work `function` of `module` sets up.

    `function(**arguments)` returns what it is (`about`: versions by name) and a mapping from names
    to calls without arguments; `call(name)` runs one of them there and measures it. Only one that
    `has_children` may start processes itself; they have to end when it does.
    """

    def __init__(
        self,
        module: str,
        function: str,
        arguments: Mapping,
        environment: Mapping = KEEP_MEMORY,
        has_children: bool = False,
    ):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        target = (theirs, module, function, dict(arguments))
        daemon = not has_children
        self._process = context.Process(target=_serve, args=target, daemon=daemon)
        before = dict(os.environ)
        os.environ.update(environment)  # read by the C library when the process starts
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()
        self.about: dict = self._receive()

    def call(self, name: str) -> Repetition:
        """Runs the work of this name once. Errors of the process are raised here."""
        self._pipe.send(name)
        return self._receive()

    def _receive(self):
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a side of the benchmark died: its own output says why") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join(timeout=30)
        self._process.kill()


def _serve(pipe: Connection, module: str, function: str, arguments: dict) -> None:
    """The process: sets up, says what it is (versions), then answers requests until hung up on."""
    try:
        about, work = getattr(importlib.import_module(module), function)(**arguments)
        pipe.send(about)
        while (name := _next_request(pipe)) is not None:
            pipe.send(_measure(work[name]))
    except Exception as error:  # whatever it is, the other process must hear of it; it ends both
        pipe.send(RuntimeError(f"{module}.{function}: {type(error).__name__}: {error}"))
        raise


def _next_request(pipe: Connection) -> str | None:
    """The name of the work to do, or None where the other side hung up."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def _measure(call) -> Repetition:
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Repetition(seconds, after.ru_nivcsw - before.ru_nivcsw)
