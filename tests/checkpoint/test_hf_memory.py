"""The memory that reading and importing a sharded model takes."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from r3jax.checkpoint import hf, hf_config
from r3jax.model import qwen

SMALL = Path(__file__).parents[1] / "golden" / "tiny_untied"

# Resident memory counts the mapped pages of the files too, which Python's own counters leave out.
PEAK = """
import resource, sys, threading, time
from pathlib import Path
from r3jax.checkpoint import hf
from r3jax.run import convert

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def watch():
    while not done:
        seen.append(resident())
        time.sleep(0.0005)

def do(path):
    if what == "load":
        return hf.load_hf(path)
    convert.import_hf(path, Path(output, Path(path).name))

what, small, source, output = sys.argv[1:]
do(small)  # what JAX and Orbax themselves take does not count
seen, done = [resident()], False
watcher = threading.Thread(target=watch)
watcher.start()
model = do(source)
done = True
watcher.join()
print(max(seen) - seen[0])
"""
SHARD = 9_000_000
SLACK = 4_000_000  # of the interpreter


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """The directory of a model in shards, its bytes, and those of its largest stack of layers."""
    config, _ = hf_config.read_config(SMALL)
    text = dataclasses.replace(config.text, num_layers=8, intermediate_size=10_000)
    config = dataclasses.replace(config, text=text)
    rng = np.random.default_rng(0)  # zeros would be compressed to nothing
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32), qwen.abstract_params(config)
    )
    directory = tmp_path_factory.mktemp("sharded") / "big"
    hf.save_hf(directory, config, params, carry_from=SMALL, max_shard_bytes=SHARD)
    assert len(list(directory.glob("*.safetensors"))) > 6
    sizes = [leaf.nbytes for leaf in jax.tree.leaves(params)]
    return directory, sum(sizes), max(sizes)


def peak(what: str, source: Path, output: Path) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, what, SMALL, source, output],
        capture_output=True,
        check=True,
    )
    return int(ran.stdout)


def test_reading_shards_takes_one_shard_above_the_model(sharded, tmp_path):
    source, size, _ = sharded
    assert size > 60_000_000
    assert size / 2 < peak("load", source, tmp_path) < size + SHARD + SLACK


def test_importing_takes_two_stacks_of_layers_above_the_model(sharded, tmp_path):
    source, size, stack = sharded
    assert stack < size / 2.5
    assert size / 2 < peak("import", source, tmp_path) < size + 2 * stack + SHARD + SLACK
