"""metrics.jsonl survives kills, numbers survive the file, progress needs no terminal."""

import importlib
import io
import json

import jax
import numpy as np
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX.proto import event_pb2

from r3jax import compiles, metrics, progress


def test_each_step_stands_once_after_a_kill_and_a_restart(tmp_path):
    with metrics.MetricsWriter(tmp_path / "whole") as writer:
        for step in range(6):
            writer.write(step, {"loss": np.float32(1 / (step + 3)), "a": step}, {"seconds": 1.5})
    with metrics.MetricsWriter(tmp_path / "killed") as writer:
        for step in range(5):
            writer.write(step, {"loss": np.float32(1 / (step + 3)), "a": step}, {"seconds": 2.5})
    path = tmp_path / "killed" / metrics.METRICS
    with open(path, "a") as file:
        file.write('{"a": 5.0, "lo')  # torn by the kill
    with metrics.MetricsWriter(tmp_path / "killed", resume_step=3) as writer:
        for step in range(3, 6):
            writer.write(step, {"loss": np.float32(1 / (step + 3)), "a": step}, {"seconds": 2.5})
    assert path.read_bytes() == (tmp_path / "whole" / metrics.METRICS).read_bytes()
    assert [line["step"] for line in metrics.read(tmp_path / "killed" / metrics.TIMINGS)] == [
        *range(6)
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_numbers_read_back_bit_for_bit(values):
    line = json.dumps({"step": 0, "values": values})
    assert np.array(json.loads(line)["values"]).tobytes() == np.array(values).tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_metric_that_is_not_finite_names_itself_and_the_step(tmp_path, value):
    with (
        metrics.MetricsWriter(tmp_path) as writer,
        pytest.raises(ValueError, match=r"metric 'loss' is .* at step 7"),
    ):
        writer.write(7, {"loss": value})


@pytest.mark.parametrize("line", ["not json", "[1]", '{"loss": 1}'])
def test_a_broken_line_names_file_and_line(tmp_path, line):
    path = tmp_path / metrics.METRICS
    path.write_text('{"step": 0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        metrics.read(path)


def test_a_missing_file_says_what_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics.jsonl is missing: it holds the numbers"):
        metrics.read(tmp_path / "metrics.jsonl")


def test_tensorboard_gets_every_number_or_says_what_to_install(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        metrics.MetricsWriter(tmp_path, tensorboard=True)

    monkeypatch.undo()
    with metrics.MetricsWriter(tmp_path, tensorboard=True) as writer:
        writer.write(2, {"loss": 0.5}, {"seconds": 3.0})
    assert events(tmp_path / "tensorboard") == [("loss", 0.5, 2), ("seconds", 3.0, 2)]


def test_a_resumed_writer_tells_tensorboard_to_hide_what_it_writes_again(tmp_path):
    with metrics.MetricsWriter(tmp_path, resume_step=3, tensorboard=True) as writer:
        writer.write(3, {"loss": 0.5})
    starts = [
        event.step
        for event in read_events(tmp_path / "tensorboard")
        if event.session_log.status == event_pb2.SessionLog.START
    ]
    assert starts == [3]


def events(directory):
    """Tag, value and step of what a TensorBoard directory holds."""
    return [
        (value.tag, value.simple_value, event.step)
        for event in read_events(directory)
        for value in event.summary.value
    ]


def read_events(directory):
    """The events of the one file of a TensorBoard directory."""
    (path,) = directory.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), []
    while content:  # records: length (8 bytes), its checksum (4), an event, its checksum (4)
        length = int.from_bytes(content[:8], "little")
        found.append(event_pb2.Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def run_progress(terminal):
    output = io.StringIO()
    console = rich.console.Console(file=output, force_terminal=terminal, width=140)
    seconds = iter(range(0, 1000, 10))
    shown = {"reward": "reward", "looks_per_answer": "looks", "tokens_per_s": "tok/s"}
    with progress.Progress(
        "R-GRPO", 4, shown, console=console, every_s=15, clock=lambda: next(seconds)
    ) as bar:
        for step in range(4):
            bar.update(step, {"reward": 0.5 + step, "tokens_per_s": 12345.6, "other": 1})
        bar.note("step 3: [looks] fell")
    return output.getvalue()


def test_progress_prints_plain_lines_where_there_is_no_terminal():
    lines = run_progress(terminal=False).splitlines()
    assert lines[0] == "R-GRPO 1/4  reward 0.5  tok/s 12,346"  # the first step tells nothing yet
    assert lines[1] == "R-GRPO 3/4  reward 2.5  tok/s 12,346  left 0:10"
    assert lines[-2].startswith("R-GRPO 4/4  reward 3.5")
    assert lines[-1] == "step 3: [looks] fell"
    assert len(lines) == 4


def test_progress_draws_a_bar_on_a_terminal():
    output = run_progress(terminal=True)
    assert "R-GRPO" in output and "4/4" in output and "reward 3.5" in output


def test_the_counter_sees_a_compilation_and_only_while_it_is_open():
    def double(x):
        return x * 2

    program = jax.jit(double)
    with compiles.CompileCounter() as counter:
        program(np.ones(3, np.float32)).block_until_ready()
        first = counter.count
        program(np.zeros(3, np.float32)).block_until_ready()
    assert first == counter.count == 1
    assert counter.seconds > 0
    program(np.ones(5, np.float32)).block_until_ready()
    assert counter.count == 1
