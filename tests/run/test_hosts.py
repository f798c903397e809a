"""Runs of several hosts, as processes on this machine that talk as hosts do."""

import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from flax import traverse_util

from r3jax import metrics, paths
from r3jax.checkpoint import hf
from tests import fake_gcs
from tests.run import loops, models

HOSTS, DEVICES = 4, 8
GONE_S = 5  # so long a host may be silent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the configs of all tests lie, and what their runs have compiled."""
    folder = tmp_path_factory.mktemp("hosts")
    loops.write_data(folder / "data")
    return folder


def write_config(folder, steps: int):
    """The config of a run of so many steps: eight groups of very different lengths on eight
    devices, of which two share heads; half of the groups come in, and are updated on, at a time."""
    config = rgrpo_config(folder / "data", steps)
    return loops.write_config(folder / f"{steps}.py", config)


def rgrpo_config(data, steps: int) -> dict:
    config = loops.rgrpo_config(models.looking(), data, steps)
    shapes = config["buckets"]
    shapes |= {"images": shapes["images"][-1:]}
    rollout = {"questions": 8, "episodes": 2, "exchange": 4, "tensor": 2}
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    return config | {"rollout": rollout, "micro_batch": 4, "refill": 0, "mesh": mesh}


def start(config, workdir, count: int) -> list[subprocess.Popen]:
    """Starts the hosts of a run, which have DEVICES devices together."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={DEVICES // count}"
    more = [f"--coordinator=127.0.0.1:{port}", f"--hosts={count}", f"--gone-after={GONE_S}"]
    return [
        loops.start(config, workdir, flags, [*more, f"--host={number}"] if count > 1 else [])
        for number in range(count)
    ]


def finish(started: list[subprocess.Popen]) -> list[str]:
    """Waits for hosts that all end well; returns what each printed."""
    try:
        printed = [one.communicate(timeout=loops.TIMEOUT_S)[0].decode() for one in started]
    finally:
        for one in started:
            one.kill()
    assert [one.returncode for one in started] == [0] * len(started), "\n---\n".join(printed)
    return printed


def learned(workdir) -> np.ndarray:
    """How far a run has come from where it started, over all weights."""
    before, after = (
        traverse_util.flatten_dict(hf.load_hf(at).params)
        for at in (models.looking(), workdir / "export")
    )
    return np.concatenate([(after[name] - before[name]).ravel() for name in sorted(before)])


@pytest.mark.slow
def test_four_hosts_train_as_one_does_and_fewer_go_on_where_one_is_killed(folder, tmp_path):
    steps, killed_at = 7, 4  # a checkpoint every third step
    config, workdir = write_config(folder, steps), tmp_path / "several"
    finish(start(config, tmp_path / "one", count=1))
    started = start(config, workdir, count=HOSTS)
    loops.kill_at(started[2], workdir, killed_at)
    killed = time.monotonic()
    left = [one for number, one in enumerate(started) if number != 2]
    printed = [one.communicate(timeout=loops.TIMEOUT_S)[0].decode() for one in left]
    assert time.monotonic() - killed < 4 * GONE_S
    assert [one.returncode for one in left] == [1] * 3, "\n---\n".join(printed)
    name = socket.gethostname()
    for text in printed:
        assert f"host 2 of 4 ({name}) has given no sign of life for 5 s; start the same" in text
    assert "R-GRPO 1/7" in printed[0] and not any("R-GRPO" in text for text in printed[1:])
    of_four = metrics.read(workdir / metrics.METRICS)

    finish(start(config, workdir, count=2))
    one, several = (metrics.read(at / metrics.METRICS) for at in (tmp_path / "one", workdir))
    assert len(of_four) >= killed_at and len(several) == steps
    for ours, theirs in (*zip(of_four, one), *zip(several, one, strict=True)):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    of_one, of_several = (learned(at) for at in (tmp_path / "one", workdir))
    assert np.linalg.norm(of_several - of_one) < 0.02 * np.linalg.norm(of_one)
    timings = metrics.read(tmp_path / "one" / metrics.TIMINGS)  # rows end at very different times:
    assert all(line["useful_row_steps"] < 0.6 for line in timings)


@pytest.mark.slow
def test_a_stop_signal_to_one_host_saves_in_a_bucket_and_ends_all(folder):
    store, workdir = fake_gcs.serving(), paths.of("gs://bucket/run")
    config = write_config(folder, steps=200)
    started = start(config, workdir, count=2)
    while loops.steps_written(workdir) < 2:
        assert all(one.poll() is None for one in started)
        time.sleep(0.1)
    os.kill(started[1].pid, signal.SIGTERM)
    printed = finish(started)
    done = loops.steps_written(workdir)
    assert f"train: stopped by a signal after step {done} of 200" in printed[0]
    assert f"run/checkpoints/{done}/commit_success.txt" in store.names("bucket")
