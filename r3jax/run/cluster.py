"""A run of several hosts: how they find each other, and how they part."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping

import jax

from r3jax import hosts
from r3jax.hosts import Limits
from r3jax.run.session import Stopped
from r3jax.run.watch import Watch, end


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the first of `count` hosts listens, HOST:PORT, and which one this is; all None: what
    the environment says. A count of 1 needs neither.

    Raises: ValueError where only some are given.
    """

    coordinator: str | None = None
    count: int | None = None
    number: int | None = None

    def __post_init__(self):
        given = [value is not None for value in dataclasses.astuple(self)]
        if any(given) and not all(given) and self.count != 1:
            raise ValueError(
                "--coordinator, --hosts and --host belong together: give all three, or none where "
                "the environment says (Cloud TPU, GKE, SLURM), or --hosts=1 for this host alone"
            )


@contextlib.contextmanager
def joined(address: Address, limits: Limits) -> Iterator[bool]:
    """Within the block this process is a host of the run that flags or the environment describe, or
    the only one; yields whether it is the one that tells what there is to tell."""
    cluster = hosts.join(limits) if _initialise(address, limits) else None
    if cluster is None:
        yield True
        return
    if hosts.leads():
        print(f"{len(cluster.names)} hosts: {', '.join(cluster.names)}")
    watch = Watch(cluster, end)
    watch.start()
    stopped = None
    try:
        yield hosts.leads()  # where it fails, the watch goes on: `watch.fail` tells the others
    except Stopped as told:  # which all hosts do together
        stopped = told
    hosts.wait("the end")
    watch.stop()
    hosts.leave()
    jax.distributed.shutdown()
    if stopped is not None:
        raise stopped


def _initialise(address: Address, limits: Limits) -> bool:
    """Starts jax.distributed if this is one of several hosts, or may be; returns whether it is."""
    told = address.coordinator is not None
    if address.count == 1 or not (told or in_cluster(os.environ, _has_tpu())):
        return False
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is `stop_signal`'s
    heartbeat = max(10, int(10 * limits.gone))  # `Watch` is sooner, and says more
    try:
        jax.distributed.initialize(
            *dataclasses.astuple(address), heartbeat_timeout_seconds=heartbeat
        )
    except (ValueError, OSError, RuntimeError) as error:
        if not told and "coordinator_address should be" in str(error):
            return False  # a TPU of one host
        raise ValueError(
            f"hosts: they did not find each other ({error}). Say where they are by --coordinator, "
            "--hosts and --host, or --hosts=1 where this is the only one"
        ) from error
    return True


def in_cluster(environment: Mapping[str, str], has_tpu: bool = False) -> bool:
    """Whether an environment may be that of one of several hosts.

    >>> in_cluster({"SLURM_NTASKS": "4", "SLURM_PROCID": "1"}), in_cluster({"SLURM_NTASKS": "1"})
    (True, False)
    """
    tasks = [int(environment.get(name) or 1) for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")]
    named = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS")
    several = max(tasks) > 1 or "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    return has_tpu or several or any(map(environment.get, named))


def _has_tpu() -> bool:
    """Whether this is a Cloud TPU machine whose chips JAX may use."""
    wanted = os.environ.get("JAX_PLATFORMS", "tpu").split(",")
    return "tpu" in wanted and any(map(os.path.exists, ("/dev/accel0", "/dev/vfio/0")))
