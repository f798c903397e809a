"""From a Hugging Face directory to a checkpoint and back, and the two entries that do it."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from r3jax.checkpoint import hf
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.store import Store
from r3jax.run import convert
from tests.checkpoint.test_hf import tensors

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
UNTIED, TIED = GOLDEN / "tiny_untied", GOLDEN / "tiny_tied"


def launch(entry: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, f"launch/{entry}.py", *flags], cwd=ROOT, capture_output=True, text=True
    )


def test_entries_import_and_export(tmp_path):
    checkpoint, out = tmp_path / "checkpoint", tmp_path / "out"
    imported = launch("import_hf", f"--model={UNTIED}", f"--output={checkpoint}")
    assert imported.returncode == 0 and imported.stdout.startswith("imported"), imported.stderr
    exported = launch("export_hf", f"--checkpoint={checkpoint}", f"--output={out}")
    assert exported.returncode == 0 and "exported step 0" in exported.stdout, exported.stderr
    assert tensors(out) == tensors(UNTIED)
    assert (out / "tokenizer.json").read_bytes() == (UNTIED / "tokenizer.json").read_bytes()
    failed = launch("export_hf", f"--checkpoint={tmp_path}", f"--output={out}")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"export failed: {tmp_path / 'hf'} holds no config.json")
    failed = launch("import_hf", f"--model={tmp_path}", f"--output={checkpoint}")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"import failed: {tmp_path / 'config.json'} is missing")


def test_export_of_a_workdir_takes_its_parameters_only(tmp_path):
    model = hf.load_hf(TIED)
    params = jax.tree.map(jnp.asarray, model.params)
    with Store(tmp_path / "run" / "checkpoints") as store:
        for step in (10, 20):
            state = {"params": params, "opt_state": jax.tree.map(jnp.zeros_like, params)}
            store.save(step, state | {"step": jnp.int32(step)})
    step = convert.export_hf(tmp_path / "run", tmp_path / "out", carry_from=TIED)
    assert step == 20 and tensors(tmp_path / "out") == tensors(TIED)
    step = convert.export_hf(tmp_path / "run", tmp_path / "half", TIED, 10, "bfloat16")
    assert step == 10 and hf.load_hf(tmp_path / "half").extras.dtype == "bfloat16"


def test_export_with_the_config_of_another_model_is_refused(tmp_path):
    convert.import_hf(UNTIED, tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="text/head/kernel: expected nothing, found shape"):
        convert.export_hf(tmp_path / "checkpoint", tmp_path / "out", carry_from=TIED)
    with pytest.raises(CheckpointError, match="already holds step 0"):
        convert.import_hf(TIED, tmp_path / "checkpoint")
    assert not (tmp_path / "out").exists()
