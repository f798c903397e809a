"""The notebook, run from top to bottom as on a machine without accelerator."""

import json
import os
import pathlib
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from r3jax import metrics

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "colab_tpu.ipynb"


def test_the_notebook_is_committed_without_output():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_every_cell_runs_on_a_cpu(tmp_path, monkeypatch):
    """In a folder with nothing of the repository but its configs and assets: r3jax is installed."""
    for name in ("configs", "assets"):
        os.symlink(ROOT / name, tmp_path / name)
    shutil.copy(NOTEBOOK, tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("XLA_FLAGS", "")  # one device
    notebook = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()

    runs = tmp_path / "runs" / "colab"
    assert json.loads((runs / "demonstration" / "results.json").read_text())
    assert [line["step"] for line in metrics.read(runs / "rgrpo" / metrics.METRICS)] == [0, 1]
    assert (runs / "model" / "model.safetensors").is_file()
    shown = [
        out.data for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out
    ]
    assert sum("image/png" in data for data in shown) == 1
    assert sum("<iframe" in data.get("text/html", "") for data in shown) == 3
