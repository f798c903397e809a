"""Small runs as a user starts them: data and config files on disk, programs as processes."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from PIL import Image

from r3jax import metrics
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]
TIMEOUT_S = 900  # a busy machine is no failure


def write_data(directory: pathlib.Path, count: int = 6) -> pathlib.Path:
    """Writes the first questions of `tiny` as images, sft.json and rl.json."""
    directory.mkdir(parents=True)
    taught, asked = [], []
    for number in range(count):
        one, path = tiny.question(number), f"{number}.png"
        Image.fromarray(one.images[0]).save(directory / path)
        row = {"image_path": path, "question": one.text}
        crop = f"{number}_crop.png"
        Image.fromarray(one.images[0][:56, :56]).save(directory / crop)
        segments = list(tiny.segments(number))
        taught.append({**row, "response_list": segments, "img_crop_list": [crop]})
        asked.append({**row, "answer": one.answer, "source": "world"})
    (directory / "sft.json").write_text(json.dumps(taught))
    (directory / "rl.json").write_text(json.dumps(asked))
    return directory


def sft_config(model: pathlib.Path, data: pathlib.Path, steps: int = 16) -> dict:
    """SFT with a held-out loss, packing into two buckets, and a checkpoint every fourth step."""
    buckets = dataclasses.replace(tiny.BUCKETS, crops=tiny.BUCKETS.crops[-1:], fill=(1.0,))
    return {
        "kind": "sft",
        "model": str(model),
        "data": str(data / "sft.json"),
        "valid_data": str(data / "sft.json"),
        "valid_every": 4,
        "valid_rows": 4,
        "steps": steps,
        "batch_size": 4,
        "buckets": dataclasses.asdict(buckets),
        "optimizer": {"learning_rate": 1e-3, "frozen": ()},
        "checkpoint": {"every": 4, "keep": 2},
    }


def rgrpo_config(model: pathlib.Path, data: pathlib.Path, steps: int = 12) -> dict:
    """R-GRPO with all that has a memory: reference, updates, refilled groups, micro-batches."""
    one_of_each = {
        "suffix_tokens": tiny.BUCKETS.suffix_tokens[-1:],
        "crops": tiny.BUCKETS.crops[-1:],
        "fill": (1.0,),
    }
    buckets = dataclasses.replace(tiny.BUCKETS, **one_of_each)
    return {
        "kind": "rgrpo",
        "model": str(model),
        "data": str(data / "rl.json"),
        "steps": steps,
        "buckets": dataclasses.asdict(buckets),
        "rollout": {"questions": 2, "episodes": 3},
        "loss": {"kl_coefficient": 0.01},
        "updates": 2,
        "micro_batch": 1,
        "refill": 1,
        "optimizer": {"learning_rate": 1e-3},
        "checkpoint": {"every": 3, "keep": 2},
    }


def write_config(path: pathlib.Path, config: dict) -> pathlib.Path:
    """Writes an experiment file."""
    path.write_text(
        f"import ml_collections\ndef get_config():\n  return ml_collections.ConfigDict({config!r})"
    )
    return path


def start(
    config: pathlib.Path, workdir: pathlib.Path, xla_flags: str = "", more: Sequence[str] = ()
) -> subprocess.Popen:
    """Starts launch/train.py as a user would, on one CPU device unless `xla_flags` say more."""
    cache = {
        # What one start has compiled the next one finds: the test is about numbers, not waiting.
        "JAX_COMPILATION_CACHE_DIR": str(config.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags, **cache}
    command = [sys.executable, ROOT / "launch" / "train.py"]
    command += [f"--config={config}", f"--workdir={workdir}", *more]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen) -> str:
    """Waits for the end of a program, which must be a good one; returns what it printed."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()  # a program that hangs does not outlive its test
    assert process.returncode == 0, output.decode()
    return output.decode()


def kill_at(
    process: subprocess.Popen, workdir: pathlib.Path, steps: int, delay: float = 0.0
) -> None:
    """Kills a program, which has no say in it, `delay` seconds after so many steps are written."""
    wait_for(process, workdir, steps)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL, "ended before the kill"


def stop_at(process: subprocess.Popen, workdir: pathlib.Path, steps: int) -> str:
    """Asks a program to stop after so many steps are written, which it does well; returns what it
    printed."""
    wait_for(process, workdir, steps)
    process.send_signal(signal.SIGTERM)
    return finish(process)


def wait_for(process: subprocess.Popen, workdir: pathlib.Path, steps: int) -> None:
    """Waits until a program has written so many steps."""
    deadline = time.monotonic() + TIMEOUT_S
    while steps_written(workdir) < steps:
        assert process.poll() is None, f"ended too early:\n{process.stdout.read().decode()}"
        assert time.monotonic() < deadline, f"step {steps} was never written"
        time.sleep(0.002)


def steps_written(workdir: pathlib.Path) -> int:
    """How many steps stand in metrics.jsonl."""
    path = workdir / metrics.METRICS
    return path.read_bytes().count(b"\n") if path.is_file() else 0
