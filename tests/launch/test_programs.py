"""Every program starts as a script, from any directory, and explains itself."""

import pathlib
import subprocess
import sys

import pytest

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"
FLAGS = {
    "build_vlir": ("inspect", "convert", "make"),
    "infer": ("--model", "--image", "--question", "--trace", "--json", "--temperature", "--seed"),
    "evaluate": ("--model", "--benchmark", "--output", "--data", "--limit", "--batch"),
    "serve": ("--model", "--port", "--max_pixels", "--key_variable", "--answer_only", "--dtype"),
    "plan": ("--config", "--topology", "--json", "--suggest", "--layouts", "--config.rollout"),
    "train": ("--config", "--workdir", "--profile", "--config.optimizer.learning_rate=3e-7"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_program_lists_its_flags(name, tmp_path):
    command = [sys.executable, LAUNCH / f"{name}.py", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(flag in done.stdout for flag in FLAGS[name])
