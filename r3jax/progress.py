"""The progress of a run on the terminal: a bar with the numbers that matter, or plain lines."""

import time
from collections.abc import Callable, Mapping

import rich.console
import rich.progress


class Progress:
    """Shows steps done, the latest metrics and the time left.

    `shown` maps a metric's name to its label, in the order shown; metrics that a step lacks are
    left out. On a terminal it is a live bar; elsewhere (a file, CI) a plain line at most every
    `every_s` seconds, and one for the last step. Use it as a context manager.
    """

    def __init__(
        self,
        title: str,
        steps: int,
        shown: Mapping[str, str],
        start: int = 0,
        every_s: float = 15.0,
        console: rich.console.Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.title, self.steps, self.start, self.shown = title, steps, start, shown
        self.every_s, self.clock = every_s, clock
        self.console = console or rich.console.Console()
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._began = self._printed = clock()

    def __enter__(self) -> "Progress":
        self._began = self.clock()
        self._printed = self._began - self.every_s  # the first line comes at once
        if self.console.is_terminal:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("[bold]{task.description}"),
                rich.progress.BarColumn(bar_width=24),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[numbers]}"),
                rich.progress.TimeElapsedColumn(),
                rich.progress.TextColumn("left"),
                rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
                console=self.console,
            )
            self._task = self._bar.add_task(
                self.title, total=self.steps, completed=self.start, numbers=""
            )
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show that `step` (counted from 0) is done."""
        numbers = "  ".join(
            f"{label} {_short(metrics[name])}"
            for name, label in self.shown.items()
            if name in metrics
        )
        done = step + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=done, numbers=numbers)
            return
        now = self.clock()
        if done == self.start + 1:
            self._began = now
        if now - self._printed < self.every_s and done < self.steps:
            return
        self._printed = now
        self._line(f"{self.title} {done}/{self.steps}  {numbers}{self._left(done, now)}")

    def _left(self, done: int, now: float) -> str:
        """The time left, from the second step on: the first one pays for what is set up."""
        if done <= self.start + 1:
            return ""
        step = (now - self._began) / (done - self.start - 1)
        return f"  left {format_seconds(step * (self.steps - done))}"

    def note(self, message: str) -> None:
        """Print a message (an alarm, a saved checkpoint) above the bar."""
        self._line(message)

    def _line(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)


def format_seconds(seconds: float) -> str:
    """A duration for people.

    >>> format_seconds(75), format_seconds(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _short(value: float) -> str:
    """Three significant digits, and no fraction from a thousand up."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
