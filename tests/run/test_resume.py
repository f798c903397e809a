"""A run that is killed again and again, and stopped, ends as the undisturbed one, bit for bit."""

import json
import random

import pytest

from r3jax import metrics
from r3jax.checkpoint import safetensors_io
from tests.run import loops, models

KINDS = {"sft": (loops.sft_config, 16, 4), "rgrpo": (loops.rgrpo_config, 12, 3)}
"""The config of a kind of run, its steps, and how often it saves."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_runs_end_as_the_undisturbed_one(kind, tmp_path):
    make, steps, every = KINDS[kind]
    data = loops.write_data(tmp_path / "data")
    config = loops.write_config(tmp_path / "config.py", make(models.looking(), data, steps))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    loops.finish(loops.start(config, whole))

    # Before anything is saved; around the second save; about as far again. When exactly, chance
    # says: a failure shows the moments.
    chance = random.SystemRandom()
    for low, high in ((1, every - 1), (every + 1, 2 * every), (2 * every + 1, 3 * every - 1)):
        moment, delay = chance.randint(low, high), chance.uniform(0, 0.02)
        print(f"killed {delay:.4f} s after step {moment}")
        loops.kill_at(loops.start(config, broken), broken, moment, delay)
    told = loops.stop_at(loops.start(config, broken), broken, 3 * every + 1)
    done = loops.steps_written(broken)
    assert f"train: stopped by a signal after step {done} of {steps}, which is saved" in told
    loops.finish(loops.start(config, broken))

    lines = (whole / metrics.METRICS).read_text()
    assert lines.count("\n") == steps
    assert (broken / metrics.METRICS).read_text() == lines
    assert weights(whole) == weights(broken)
    first, last = (json.loads(line) for line in lines.splitlines()[:: steps - 1])
    assert first["loss"] != last["loss"]  # it did learn something
    page = (whole / "report" / "index.html").read_text()
    assert "<svg" in page and ('<article class="trace"' in page) == (kind == "rgrpo")


def weights(workdir) -> dict[str, bytes]:
    """Every exported tensor as bytes."""
    stored = safetensors_io.read_headers(workdir / "export")
    return {name: array.tobytes() for name, array in safetensors_io.read_tensors(stored)}
