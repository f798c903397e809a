"""A run whose model, data and workdir lie in a bucket has the numbers of one on a disk."""

import numpy as np
import pytest

from launch import export_hf, train
from r3jax import metrics, paths
from r3jax.checkpoint import hf, hf_table
from tests import fake_gcs
from tests.run import loops, models


@pytest.mark.slow
def test_a_run_in_a_bucket_stops_and_goes_on_with_the_numbers_of_a_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = fake_gcs.serving()
    store.objects.clear()
    disk, bucket = tmp_path, paths.of("gs://bucket/all")
    loops.write_data(disk / "data")
    paths.copy_tree(models.untrained(), disk / "model")
    for name in ("data", "model"):
        paths.copy_tree(disk / name, bucket / name)
    for root, stops in ((disk, (3,)), (bucket, (2, 3))):
        for steps in stops:
            config = loops.rgrpo_config(root / "model", root / "data", steps)
            config["checkpoint"] = {"every": 1, "keep": 1}
            config |= {"updates": 1, "micro_batch": 0, "loss": {}}  # fewer programs
            file = loops.write_config(tmp_path / "config.py", config)
            assert train.main([f"--config={file}", f"--workdir={root / 'run'}"]) == 0
        assert (root / "run" / "report" / "index.html").is_file()
    on_disk, in_bucket = ((root / "run" / metrics.METRICS).read_text() for root in (disk, bucket))
    assert on_disk == in_bucket and on_disk.count("\n") == 3

    assert "all/run/checkpoints/3/commit_success.txt" in store.names("bucket")
    exported = bucket / "exported"
    assert export_hf.main([f"--checkpoint={bucket / 'run'}", f"--output={exported}"]) == 0
    ours, theirs = (
        hf_table.flatten(hf.load_hf(at).params) for at in (exported, disk / "run/export")
    )
    for name, leaf in theirs.items():
        np.testing.assert_array_equal(ours[name], leaf, err_msg=str(name))
    assert not (disk / "gs:").exists()  # nothing took a name in a bucket for one on a disk
