"""launch/gke.yaml asks for the slice that its config is made for."""

import math
import pathlib

import yaml

from launch import train
from r3jax.run import experiment
from r3jax.run import train as runs

MANIFEST = pathlib.Path(__file__).parents[2] / "launch" / "gke.yaml"


def test_hosts_and_chips_are_those_of_topology_and_config():
    job = yaml.safe_load(MANIFEST.read_text())["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = math.prod(int(side) for side in topology.split("x"))
    per_host = container["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"] == chips // per_host
    args, overrides = train.parse(container["command"][2:])
    _, config = runs.read(experiment.override(experiment.load(args.config), overrides))
    assert math.prod(config.mesh.sizes) == chips
    assert config.model.startswith("gs://mine/") and args.workdir.startswith("gs://mine/")
