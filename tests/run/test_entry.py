"""The programs' one line for a mistake of the user, and the traceback for ours."""

import pytest

from r3jax import metrics
from r3jax.run import entry


def test_a_missing_package_that_r3jax_names_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "_TENSORBOARD_MODULES", ("no_such_board",))
    assert entry.call("train", lambda: metrics.open_tensorboard(tmp_path)) == 1
    err = capsys.readouterr().err
    assert err.startswith("train: TensorBoard logging was asked for") and err.count("\n") == 1


def test_an_import_that_fails_in_r3jax_itself_keeps_its_traceback():
    source = {"__name__": "r3jax.run.x"}
    exec("def run():\n  import no_such_module", source)
    with pytest.raises(ImportError):
        entry.call("train", source["run"])
