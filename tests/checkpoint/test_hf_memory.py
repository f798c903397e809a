"""The memory that reading a sharded model takes."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from r3jax.checkpoint import hf, hf_config
from r3jax.model import qwen

GOLDEN = Path(__file__).parents[1] / "golden"

# Resident memory counts the mapped pages of the files too, which Python's own counters leave out.
PEAK = """
import resource, sys, threading, time
from pathlib import Path
from r3jax.checkpoint import hf, hf_config, hf_table

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def watch():
    while not done:
        seen.append(resident())
        time.sleep(0.0005)

source = Path(sys.argv[1])
hf_table.param_shapes(hf_config.read_config(source)[0])  # what JAX itself takes does not count
seen, done = [resident()], False
watcher = threading.Thread(target=watch)
watcher.start()
model = hf.load_hf(source)
done = True
watcher.join()
print(max(seen) - seen[0])
"""


def test_reading_shards_takes_one_shard_above_the_model(tmp_path):
    config, _ = hf_config.read_config(GOLDEN / "tiny_untied")
    text = dataclasses.replace(config.text, num_layers=8, intermediate_size=10_000)
    config = dataclasses.replace(config, text=text)
    params = jax.tree.map(
        lambda leaf: np.ones(leaf.shape, np.float32), qwen.abstract_params(config)
    )
    size, shard = sum(leaf.nbytes for leaf in jax.tree.leaves(params)), 9_000_000
    hf.save_hf(tmp_path / "big", config, params, max_shard_bytes=shard)
    assert size > 60_000_000
    assert len(list((tmp_path / "big").glob("*.safetensors"))) > 6
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "big")], capture_output=True, check=True
    )
    slack = 4_000_000  # of the interpreter
    assert size / 2 < int(ran.stdout) < size + shard + slack
