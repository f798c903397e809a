"""SIGTERM as a wish to stop: machines that are taken away send it, and wait a little."""

import signal
import threading


class StopSignal:
    """While it is open, SIGTERM is remembered in `asked`, and a second one ends the process.

    In a thread other than the main one nothing is changed: Python leaves signals to that.
    """

    def __init__(self):
        self.asked = False

    def __enter__(self) -> "StopSignal":
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _hear(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)
