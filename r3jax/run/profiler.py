"""`--profile`: which steps of a run are watched, and what it leaves in the workdir's profile/.

warm-up | timed, timed, timed | traced
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax

from r3jax import paths, phases
from r3jax.compiles import CompileCounter
from r3jax.view import profile

FOLDER, TABLE, PAGE = "profile", "profile.md", "profile.html"
WARM_UP = 1  # steps before those that are timed: the first one sets things up
TRACED = 1  # steps traced after them: a trace of a few would be too large to open


def check(steps: int | None) -> None:
    """Raises ValueError for a number of steps that cannot be profiled; None is no profile."""
    if steps is not None and steps < 1:
        raise ValueError(
            f"profile: expected at least 1 step, found {steps}: write --profile for 3 steps, or "
            "--profile=STEPS"
        )


class Profiler:
    """Times `steps` steps of the run in `workdir`, phase by phase, and traces one more.

    The timed ones wait for the device after each phase and are not traced, since tracing makes a
    step slower. With `steps` None nothing is done. A run goes from step `start` up to step `end`.

    Raises: ValueError where fewer steps are left than that takes.
    """

    def __init__(self, workdir: Path, title: str, steps: int | None, start: int, end: int):
        check(steps)
        self.folder, self.title = workdir / FOLDER, title
        first = start + WARM_UP
        self._timed = range(first, first + (steps or 0))
        self._traced = range(self._timed.stop, self._timed.stop + (TRACED if steps else 0))
        if steps and self._traced.stop > end:
            fewer = steps - (self._traced.stop - end)
            raise ValueError(
                f"profile: {WARM_UP} step to warm up, {steps} to time and {TRACED} to trace were "
                f"asked for, found {end - start} of {end} steps left in {workdir}: "
                f"{f'write --profile={fewer}, ' if fewer > 0 else ''}raise config.steps, or name a "
                "new workdir"
            )
        self._times: list[phases.StepTimes] = []
        self._compiles = CompileCounter()

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Watches the block, which is one step, if it is one of those to watch."""
        if step in self._timed:
            recorder = phases.Recorder()
            with phases.listening(recorder), self._compiles:
                yield
                self._times.append(recorder.times(step))
        elif step in self._traced:
            named = jax.profiler.StepTraceAnnotation("step", step_num=step)
            with (
                paths.on_disk(self.folder) as folder,
                _trace(folder),
                named,
                phases.listening(phases.Recorder()),
            ):
                yield
        else:
            yield

    def finish(self, step: int) -> str:
        """Writes table and page after the last step to watch; returns what to print, or nothing."""
        if not self._times or step != self._traced.stop - 1:
            return ""
        found = profile.Profile(f"Profile of {self.title}", self._times, self._notes(step))
        self.folder.mkdir(parents=True, exist_ok=True)
        text = profile.markdown(found)
        (self.folder / TABLE).write_text(text, "utf-8")
        (self.folder / PAGE).write_text(profile.html(found), "utf-8")
        return text

    def _notes(self, traced: int) -> list[str]:
        devices, notes = jax.devices(), []
        if self._compiles.count:
            notes.append(
                f"{self._compiles.count} programs were compiled in these steps, which took "
                f"{self._compiles.seconds:.3f} s of them."
            )
        return [
            *notes,
            f"{len(devices)} {devices[0].device_kind} device(s), jax {jax.__version__}. A phase "
            "waits for what it computes: steps of a run that is not profiled may be shorter.",
            f"Step {traced + 1} was traced: open the perfetto_trace.json.gz below {self.folder} at "
            "ui.perfetto.dev, or the folder in TensorBoard with its profile plugin.",
        ]


@contextlib.contextmanager
def _trace(folder: Path) -> Iterator[None]:
    """Traces the block with JAX's profiler, without a record of each Python call."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)
    try:
        yield
    finally:
        jax.profiler.stop_trace()
