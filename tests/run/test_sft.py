"""SFT: what a run over several buckets compiles, and when."""

import json

from r3jax import config as config_lib
from r3jax import metrics
from r3jax.run import sft
from r3jax.update import pack
from tests.run import loops, models


def test_nothing_is_compiled_after_the_first_step(tmp_path, monkeypatch, capsys):
    """Short rows without a crop and long ones with one, a held-out loss, a checkpoint."""
    data = loops.write_data(tmp_path / "data", count=4)
    rows = json.loads((data / "sft.json").read_text())
    for row in rows[:2]:
        row.update(response_list=["<answer>1</answer>"], img_crop_list=[])
    (data / "sft.json").write_text(json.dumps(rows))
    lengths = set()

    def pack_taught(*args):
        batch = original(*args)
        lengths.add(batch.suffix.targets.shape[-1])
        return batch

    original = pack.pack_taught
    monkeypatch.setattr(pack, "pack_taught", pack_taught)
    values = loops.sft_config(models.untrained(), data, steps=4)
    values |= {"batch_size": 4, "micro_batch": 2, "valid_every": 3, "valid_rows": 2}
    values |= {"checkpoint": {"every": 3, "keep": 1}}
    values["buckets"] |= {"suffix_tokens": (24, 128), "crops": values["buckets"]["crops"][-1:]}
    del values["kind"]
    sft.run(config_lib.build(sft.SftConfig, values), tmp_path / "run")

    lines = metrics.read(tmp_path / "run" / metrics.TIMINGS)
    compiles = [line["compiles"] for line in lines]
    assert lengths == {24, 128}
    assert compiles == compiles[:1] * 4 and compiles[0] > 0
    assert all(line["tokens_per_s"] > 0 for line in lines)

    capsys.readouterr()
    sft.run(config_lib.build(sft.SftConfig, values), tmp_path / "run")
    assert "run: all 4 steps are done, none is left" in capsys.readouterr().out
    assert len(metrics.read(tmp_path / "run" / metrics.METRICS)) == 4
