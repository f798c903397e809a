"""Devices of a slice that is not there: what its compiler needs to know of them."""

import importlib.util
import os

import jax
from jax.experimental import topologies

from r3jax.plan.chips import Slice

_NO_MACHINE = {
    "TPU_SKIP_MDS_QUERY": "1",  # there is none to ask about its chips
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nor a chip that only one process may have
    "TPU_WORKER_HOSTNAMES": "localhost",  # and what the library complains of is made up
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


def devices(where: Slice) -> list[jax.Device]:
    """Returns the devices of a slice, for which programs can be compiled and not run.

    Raises: ValueError where the compiler is not installed or knows no such slice.
    """
    for name, value in _NO_MACHINE.items():
        os.environ.setdefault(name, value)
    bounds = (*where.host, 1, 1)[:3]
    try:
        found = topologies.get_topology_desc(
            platform="tpu",
            topology_name=where.topology,
            chips_per_host_bounds=bounds,
            **where.chip.options,
        )
    except Exception as error:  # JAX raises its own runtime error, of many kinds
        advice = "choose a slice that is sold"
        if importlib.util.find_spec("libtpu") is None:
            advice = "the extra tpu of setup.py brings one, pip install -e '.[tpu]'"
        raise ValueError(f"no compiler for {where.topology} ({error}): {advice}") from error
    return list(found.devices)
