"""What every training loop does around its steps: resume, record, save, watch."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import grain
import rich.console

from r3jax import hosts, paths
from r3jax.checkpoint.store import Store
from r3jax.compiles import CompileCounter
from r3jax.metrics import MetricsWriter
from r3jax.phases import Phase, span
from r3jax.progress import Progress
from r3jax.run import origins
from r3jax.run.goodput import Goodput
from r3jax.run.profiler import Profiler
from r3jax.run.stop_signal import StopSignal
from r3jax.run.workdirs import CHECKPOINTS
from r3jax.update.state import TrainState, lasting, restored


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """A checkpoint every `every` steps and at the end; the newest `keep` stay."""

    every: int = 50
    keep: int = 2

    def __post_init__(self):
        if self.every < 1 or self.keep < 1:
            raise ValueError(f"every and keep must be at least 1, found {self.every}, {self.keep}")


class LoopConfig(Protocol):
    """What a session reads of the config of a loop."""

    steps: int
    checkpoint: CheckpointConfig
    tensorboard: bool


class NonFiniteError(RuntimeError):
    """The loss or a gradient is no number: training stopped before anything was saved."""


class Stopped(Exception):
    """A signal asked for it, and all is saved: the same command goes on."""


class Session:
    """One stage of training in one directory: checkpoints, metrics, progress.

    Use it as a context manager; `state` and `start` are where to go on. `made_from` holds a
    fingerprint of each input: a run goes on with those that it began with. `profile` is how many
    steps to time, phase by phase. Of several hosts the first writes what there is one of.

    Raises: Stopped after a step in which SIGTERM came to any host.
    """

    def __init__(
        self,
        workdir: str | Path,
        title: str,
        config: LoopConfig,
        state: TrainState,
        iterator: grain.DatasetIterator,
        shown: Mapping[str, str],
        made_from: Mapping[str, str],
        profile: int | None = None,
    ):
        self.compiles = CompileCounter()
        self.goodput = Goodput(self.compiles)
        self.workdir, self.config = paths.of(workdir), config
        self.iterator, self.made_from = iterator, dict(made_from)
        self.store = Store(self.workdir / CHECKPOINTS, config.checkpoint.keep)
        self.state, self.start = state, 0
        self._check_same_on_all_hosts()
        if self.store.latest_step() is not None:
            hosts.goes_on("restoring a checkpoint")
            found = self.store.restore(None, lasting(state))
            origins.check(found.meta["made_from"], self.made_from, self.workdir)
            self.state = restored(found.state, state)
            self.iterator.set_state(found.iterator_state)
            self.start = found.meta["next_step"]
        leads = hosts.leads()
        profile = profile if leads else None
        self.profiler = Profiler(self.workdir, title, profile, self.start, config.steps)
        self.metrics = None
        if leads:
            self.metrics = MetricsWriter(self.workdir, self.start, config.tensorboard)
        console = None if leads else rich.console.Console(quiet=True, force_terminal=False)
        self.progress = Progress(title, config.steps, shown, self.start, console=console)
        self._stop, self._stopping = StopSignal(), False
        self._began = time.monotonic()

    def __enter__(self) -> "Session":
        self._stop.__enter__()
        self.progress.__enter__()
        self.compiles.__enter__()
        if self.is_done:
            self.progress.note(f"{self.workdir}: all {self.start} steps are done, none is left")
        return self

    def __exit__(self, *exception) -> None:
        self.compiles.__exit__(*exception)
        self.progress.__exit__(*exception)
        with contextlib.ExitStack() as stack:  # each is closed, whatever happens to another
            stack.callback(self._stop.__exit__, *exception)
            stack.callback(self.store.close)
            if self.metrics is not None:
                stack.callback(self.metrics.close)

    @property
    def is_stopping(self) -> bool:
        """Whether a signal has asked this host to stop: the step that is going on is the last."""
        return self._stop.asked

    @property
    def is_done(self) -> bool:
        """Whether no step is left: nothing needs to be compiled."""
        return self.start >= self.config.steps

    def steps(self) -> Iterator[int]:
        """The steps that are left; profiles those that are to be."""
        for step in range(self.start, self.config.steps):
            self.goodput.begin()
            with self.profiler.step(step):
                yield step
            if told := self.profiler.finish(step):
                self.progress.note(told)
            if self._stopping:
                raise Stopped(
                    f"stopped by a signal after step {step + 1} of {self.config.steps}, which is "
                    f"saved in {self.workdir}: the same command goes on"
                )

    def _check_same_on_all_hosts(self) -> None:
        """Raises ValueError where hosts would go on from different checkpoints, or inputs."""
        found = hosts.gather("what to go on from", [self.store.latest_step(), self.made_from])
        for number, other in enumerate(found):
            if other != found[0]:
                raise ValueError(
                    f"{self.workdir}: host {number} finds checkpoint and inputs {other}, host 0 "
                    f"{found[0]}: model, data and workdir must lie on a file system that all share"
                )

    def record(
        self,
        step: int,
        stats: Mapping[str, float],
        timings: Mapping[str, float],
        suspects: Sequence[str] = (),
    ) -> None:
        """Writes the numbers of a step; stops the run where one is not finite, and names those
        questions of the batch that are to be suspected."""
        bad = [name for name, value in stats.items() if not math.isfinite(value)]
        if bad:
            why = f", nor are log-probs of {', '.join(suspects)}" if suspects else ""
            raise NonFiniteError(
                f"step {step}: {', '.join(bad)} is not finite{why}; the last good checkpoint is "
                f"step {self.store.latest_step()} in {self.workdir}. Lower the learning rate, or "
                "look at the batch of that step: the same command runs it again"
            )
        now = time.monotonic()
        counted = {"goodput": self.goodput.end(), "compiles": self.compiles.count}
        timings, self._began = {"seconds": now - self._began, **counted, **timings}, now
        if self.metrics is not None:
            self.metrics.write(step, stats, timings)
        self.progress.update(step, {**stats, **timings})

    def save_if_due(self, step: int, state: TrainState) -> bool:
        """Saves after `step` where the schedule says so, after the last, and where a signal has
        asked any host to stop; returns whether."""
        done = step + 1
        self._stopping = hosts.any_of("stopping", self._stop.asked)
        if done % self.config.checkpoint.every and done != self.config.steps and not self._stopping:
            return False
        meta = {"next_step": done, "made_from": self.made_from}
        if self.metrics is not None:
            self.metrics.keep()  # what a checkpoint goes on from has its numbers
        with span(Phase.CHECKPOINT):
            self.store.save(done, lasting(state), self.iterator.get_state(), meta)
        return True
