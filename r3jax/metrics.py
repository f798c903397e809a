"""metrics.jsonl: one JSON object a line, each step once, whatever was killed and restarted.

Numbers are written so that they read back bit for bit. What a clock measured goes into
timings.jsonl beside it, so that the metrics of two equal runs are equal files.
"""

import contextlib
import importlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Protocol

from r3jax import added, paths

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
_TENSORBOARD_MODULES = ("tensorboardX", "torch.utils.tensorboard")


class ScalarWriter(Protocol):
    """What MetricsWriter needs of a TensorBoard writer."""

    def add_scalar(self, tag: str, value: float, step: int) -> object: ...

    def close(self) -> object: ...


class MetricsWriter:
    """Appends the metrics of each step to `workdir`.

    `resume_step` is the first step that will be written: lines of it and later ones, and a line
    torn by a kill, are dropped first; TensorBoard hides its own of these steps. Use it as a context
    manager, or `close` it.

    Errors: ImportError with what to install if TensorBoard is asked for and there is none.
    """

    def __init__(self, workdir: str | os.PathLike, resume_step: int = 0, tensorboard: bool = False):
        directory = paths.of(workdir)
        directory.mkdir(parents=True, exist_ok=True)
        self._board = None
        if tensorboard:
            self._board = open_tensorboard(directory / "tensorboard", resume_step)
        self._files = {}
        for name in (METRICS, TIMINGS):
            drop_from(directory / name, resume_step)
            self._files[name] = added.add_to(directory / name)

    def write(
        self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None
    ) -> None:
        """Append one line for a step; `timings` are wall-clock numbers (seconds, tokens/s).

        Errors: ValueError naming the metric and the step if a value is not finite.
        """
        self._append(METRICS, step, metrics)
        if timings:
            self._append(TIMINGS, step, timings)

    def _append(self, name: str, step: int, values: Mapping[str, float]) -> None:
        numbers = {key: float(value) for key, value in values.items()}
        for key, value in numbers.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {key!r} is {value} at step {step}, expected a number")
        line = json.dumps({"step": int(step), **numbers}, sort_keys=True, allow_nan=False)
        self._files[name].write(line + "\n")
        if self._board is not None:
            for key, value in numbers.items():
                self._board.add_scalar(key, value, int(step))

    def keep(self) -> None:
        """Returns when no line that was written can get lost any more."""
        for file in self._files.values():
            file.keep()

    def close(self) -> None:
        """Close the files, each of them whatever happens to another."""
        with contextlib.ExitStack() as stack:
            for file in (*self._files.values(), *([self._board] if self._board else [])):
                stack.callback(file.close)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read(path: str | os.PathLike) -> list[dict[str, float]]:
    """Read the lines of a metrics file, in order.

    Errors: FileNotFoundError that says what the file is; ValueError naming file and line for a
    line that is no metrics object; a last line without a line end, torn by a kill, is not an error
    and is left out.
    """
    path = paths.of(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: it holds the numbers of a run's steps, one line each; put it "
            "back, or run that stage again in a new workdir"
        )
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")[:-1]  # what follows the last line end is torn, or empty
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: no JSON object ({error})") from error
        if not isinstance(entry, dict) or "step" not in entry:
            raise ValueError(f"{path}, line {number}: expected an object with a 'step': {line!r}")
        found.append(entry)
    return found


def drop_from(path: str | os.PathLike, step: int) -> None:
    """Remove the lines of `step` and later from a metrics file, atomically; no file is fine."""
    path = paths.of(path)
    if not path.exists():
        return
    kept = [entry for entry in read(path) if entry["step"] < step]
    paths.write_whole(path, "".join(json.dumps(one, sort_keys=True) + "\n" for one in kept))


def open_tensorboard(directory: pathlib.Path, resume_step: int = 0) -> ScalarWriter:
    """Open a TensorBoard writer of whichever package is installed.

    What an earlier writer wrote of `resume_step` and later ones is no longer shown.

    Errors: ImportError that names the packages if there is none.
    """
    for name in _TENSORBOARD_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.SummaryWriter(str(directory), purge_step=resume_step)
    raise ImportError(
        "TensorBoard logging was asked for, but none of "
        f"{', '.join(_TENSORBOARD_MODULES)} is installed; `pip install tensorboardX`, "
        "or leave TensorBoard off: metrics.jsonl holds the same numbers"
    )
