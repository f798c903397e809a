"""Hugging Face directories: in, out, and what goes wrong."""

import errno
import json
import os
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from r3jax.checkpoint import directory, hf, hf_table, safetensors_io
from r3jax.checkpoint.errors import CheckpointError

GOLDEN = Path(__file__).parents[1] / "golden"
UNTIED, TIED = GOLDEN / "tiny_untied", GOLDEN / "tiny_tied"


def tensors(source: Path) -> dict[str, tuple]:
    """Returns every tensor of a directory as something that compares bit for bit."""
    stored = safetensors_io.read_headers(source)
    return {
        key: (view.dtype, view.shape, view.tobytes())
        for key, view in safetensors_io.read_tensors(stored)
    }


def rewritten(source: Path, target: Path, change) -> Path:
    """Copies a model directory with `change` applied to its dict of tensors."""
    shutil.copytree(source, target)
    arrays = safetensors.numpy.load_file(source / "model.safetensors")
    safetensors.numpy.save_file(change(arrays), target / "model.safetensors")
    return target


@pytest.mark.parametrize("source", [UNTIED, TIED], ids=["untied", "tied"])
@pytest.mark.parametrize("shard", [10**9, 100_000], ids=["one file", "shards"])
def test_import_then_export_is_bit_exact(source, shard, tmp_path):
    model = hf.load_hf(source)
    hf.save_hf(tmp_path / "out", model.config, model.params, source, max_shard_bytes=shard)
    assert tensors(tmp_path / "out") == tensors(source)
    again = hf.load_hf(tmp_path / "out")
    assert (again.config, again.extras) == (model.config, model.extras)


def test_bfloat16_stays_bfloat16_also_by_way_of_float32_on_devices(tmp_path):
    source = rewritten(
        UNTIED,
        tmp_path / "bf16",
        lambda arrays: {key: a.astype(ml_dtypes.bfloat16) for key, a in arrays.items()},
    )
    kept = hf.load_hf(source)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept.params)} == {np.dtype(jnp.bfloat16)}
    hf.save_hf(tmp_path / "kept", kept.config, kept.params)
    assert tensors(tmp_path / "kept") == tensors(source)
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    wide = hf.load_hf(source, "float32")
    on_devices = jax.tree.map(jnp.asarray, wide.params)
    hf.save_hf(tmp_path / "wide", wide.config, on_devices, dtype="bfloat16")
    assert tensors(tmp_path / "wide") == tensors(source)


def test_newer_key_names_give_the_same_parameters(tmp_path):
    def rename(key: str) -> str:
        for old, new in (("visual.", "model.visual."), ("model.", "model.language_model.")):
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    source = rewritten(
        UNTIED, tmp_path / "newer", lambda arrays: {rename(k): a for k, a in arrays.items()}
    )
    jax.tree.map(
        np.testing.assert_array_equal, hf.load_hf(source).params, hf.load_hf(UNTIED).params
    )


def test_head_of_a_tied_model(tmp_path, recwarn):
    def with_head(add: float):
        return lambda arrays: arrays | {hf_table.HEAD: arrays[hf_table.EMBEDDING] + np.float32(add)}

    expected = hf.load_hf(TIED).params
    equal = hf.load_hf(rewritten(TIED, tmp_path / "equal", with_head(0.0)))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"lm_head\.weight differs from model\.embed_tokens"):
        different = hf.load_hf(rewritten(TIED, tmp_path / "different", with_head(1.0)))
    for loaded in (equal, different):
        jax.tree.map(np.testing.assert_array_equal, loaded.params, expected)


def test_config_of_another_model_is_refused(tmp_path):
    shutil.copytree(UNTIED, tmp_path / "model")
    config = json.loads((UNTIED / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 128
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    message = (
        r"model\.layers\.0\.mlp\.up_proj\.weight: expected shape \(128, 64\), found \(160, 64\)"
    )
    with pytest.raises(CheckpointError, match=message):
        hf.load_hf(tmp_path / "model")


def test_layers_of_several_dtypes_need_one_named(tmp_path):
    def mix(arrays):
        key = "model.layers.1.mlp.up_proj.weight"
        return arrays | {key: arrays[key].astype(np.float16)}

    source = rewritten(UNTIED, tmp_path / "mixed", mix)
    with pytest.raises(CheckpointError, match="float16 but the same weight of other layers is flo"):
        hf.load_hf(source)
    assert hf.load_hf(source, "float32").params["text"]["norm"]["scale"].dtype == np.float32
    with pytest.raises(CheckpointError, match="dtype is 'int8'; expected 'same' or one of"):
        hf.load_hf(source, "int8")


def test_parameters_of_another_config_are_not_written(tmp_path):
    tied, untied = hf.load_hf(TIED), hf.load_hf(UNTIED)
    with pytest.raises(CheckpointError, match="text/head/kernel: unknown"):
        hf.save_hf(tmp_path / "out", tied.config, untied.params)
    with pytest.raises(CheckpointError, match="text/head/kernel: missing"):
        hf.save_hf(tmp_path / "out", untied.config, tied.params)
    wrong = untied.params | {"text": untied.params["text"] | {"norm": {"scale": np.ones(3)}}}
    with pytest.raises(CheckpointError, match=r"text/norm/scale: expected shape \(64,\), found"):
        hf.save_hf(tmp_path / "out", untied.config, wrong)
    assert not (tmp_path / "out").exists()


def test_files_beside_the_weights_go_along_byte_for_byte(tmp_path):
    shutil.copytree(UNTIED, tmp_path / "in")
    (tmp_path / "in" / "r3jax.json").write_text('{"max_pixels": 50176}')
    (tmp_path / "in" / "notes.txt").write_text("not ours")
    model = hf.load_hf(tmp_path / "in")
    hf.save_hf(tmp_path / "out", model.config, model.params, carry_from=tmp_path / "in")
    own = {"config.json", "model.safetensors"}
    carried = {path.name for path in (tmp_path / "in").iterdir()} - own - {"notes.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == carried | own
    for name in carried:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    with pytest.raises(CheckpointError, match="is not a directory to carry tokenizer files from"):
        hf.save_hf(
            tmp_path / "no", model.config, model.params, tmp_path / "none", extras=model.extras
        )


def test_full_disk_leaves_the_old_export_whole(tmp_path, monkeypatch):
    model, out = hf.load_hf(UNTIED), tmp_path / "out"
    hf.save_hf(out, model.config, model.params, UNTIED)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*still whole"):
        hf.save_hf(out, model.config, model.params, UNTIED)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_real_write_error_is_explained(tmp_path):
    """A limit on file size stands for the full disk: the system call itself fails."""
    model = hf.load_hf(UNTIED)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"writing .*out failed: .*File too large"):
            hf.save_hf(tmp_path / "out", model.config, model.params, UNTIED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_killed_export_is_repaired_by_the_next(tmp_path):
    """Killed while writing: a partial directory. Killed between the renames: a previous one."""
    model, out = hf.load_hf(UNTIED), tmp_path / "out"
    hf.save_hf(out, model.config, model.params, UNTIED)
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "model.safetensors").write_bytes(b"half")
    out.rename(tmp_path / ".out.previous")
    with pytest.raises(RuntimeError), directory.replaced(out, mark="config.json"):
        raise RuntimeError("killed again")
    assert tensors(out) == tensors(UNTIED)
    hf.save_hf(out, model.config, model.params, UNTIED)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_directory_of_something_else_is_not_replaced(tmp_path):
    model = hf.load_hf(UNTIED)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds no config\.json, so it is not replaced"):
        hf.save_hf(tmp_path, model.config, model.params)
    assert (tmp_path / "thesis.tex").exists()
