"""A run of several hosts: how they find each other, and who tells where one is lost.

Whoever is lost cannot say so, and the others would wait for it in the middle of a program. So a
thread of each host gives signs of life and reads those of the others; it ends the process, by
saying which host is gone, hangs or has failed.
"""

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping

import jax

from r3jax import hosts
from r3jax.hosts import Cluster, Limits
from r3jax.run.session import Stopped

BEATS = 10  # signs of life in the time after which a host counts as gone
GO_ON = "start the same command on all hosts, or on fewer: it goes on from the last checkpoint"


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the first of `count` hosts listens, HOST:PORT, and which one this is; all None: what
    the environment says.

    Raises: ValueError where only some are given.
    """

    coordinator: str | None = None
    count: int | None = None
    number: int | None = None

    def __post_init__(self):
        given = [value is not None for value in dataclasses.astuple(self)]
        if any(given) and not all(given):
            raise ValueError(
                "--coordinator, --hosts and --host belong together: give all three, or none where "
                "the environment says (Cloud TPU, GKE, SLURM)"
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
    watch = Watch(cluster)
    watch.start()
    stopped = None
    try:
        yield hosts.leads()  # where it fails, the watch goes on: `hosts.fail` tells the others
    except Stopped as told:  # which all hosts do together
        stopped = told
    hosts.wait("the end")
    watch.stop()
    jax.distributed.shutdown()
    if stopped is not None:
        raise stopped


def _initialise(address: Address, limits: Limits) -> bool:
    """Starts jax.distributed if this is one of several hosts, or may be; returns whether it is."""
    given = dataclasses.astuple(address)
    if address.coordinator is None and not in_cluster(os.environ, _has_tpu()):
        return False
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is `stop_signal`'s
    try:
        # JAX ends a process without a word of ours: later than `Watch` would.
        jax.distributed.initialize(*given, heartbeat_timeout_seconds=int(10 * limits.gone))
    except ValueError as error:
        if address.coordinator is None and "coordinator_address should be" in str(error):
            return False  # a TPU of one host
        raise
    return True


def in_cluster(environment: Mapping[str, str], has_tpu: bool = False) -> bool:
    """Whether an environment may be that of one of several hosts.

    >>> in_cluster({"SLURM_NTASKS": "4", "SLURM_PROCID": "1"}), in_cluster({"SLURM_NTASKS": "1"})
    (True, False)
    """
    tasks = [int(environment.get(name) or 1) for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")]
    named = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS")
    return has_tpu or max(tasks) > 1 or any(map(environment.get, named)) or (
        "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    )  # fmt: skip


def _has_tpu() -> bool:
    """Whether this is a Cloud TPU machine whose chips JAX may use."""
    wanted = os.environ.get("JAX_PLATFORMS", "tpu").split(",")
    return "tpu" in wanted and any(map(os.path.exists, ("/dev/accel0", "/dev/vfio/0")))


class Watch:
    """Gives signs of life of a host of a cluster, and ends the process where another is lost."""

    def __init__(self, cluster: Cluster, end=hosts.end):
        self.cluster, self.end = cluster, end
        self.every = cluster.limits.gone / BEATS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen: dict[int, tuple[int, float]] = {}  # each host's last beat, and when it came

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        beat = 0
        while not self._stop.wait(self.every):
            beat += 1
            try:
                self.cluster.tell("alive", self._sign(beat))
                signs = self.cluster.told("alive")
                failed = self.cluster.told("failed")
            except jax.errors.JaxRuntimeError as error:
                lost = self.cluster.called(0)
                self.end(f"{lost}, whom all others ask, does not answer ({error}); {GO_ON}")
                return
            if lost := self.lost(signs, failed, time.monotonic()):
                self.end(lost)
                return

    def _sign(self, beat: int) -> str:
        cluster = self.cluster
        return json.dumps([beat, cluster.turn, cluster.what, time.monotonic() - cluster.since])

    def lost(self, signs: Mapping[int, str], failed: Mapping[int, str], now: float) -> str | None:
        """What to say where a host is lost: given the signs of life and last words of all, now."""
        cluster = self.cluster
        for number, message in failed.items():
            return f"{cluster.called(number)} has stopped: {message}"
        read = {number: json.loads(sign) for number, sign in signs.items()}
        for number, (beat, *_) in read.items():
            if self._seen.get(number, (None,))[0] != beat:
                self._seen[number] = beat, now
        silent = [n for n, (_, at) in self._seen.items() if now - at > cluster.limits.gone]
        if silent:
            who = ", ".join(map(cluster.called, silent))
            return f"{who} has given no sign of life for {cluster.limits.gone:g} s; {GO_ON}"
        return self._hung(read)

    def _hung(self, read: Mapping[int, list]) -> str | None:
        """Those that are behind hold up the others; where all are level, nobody can tell."""
        first = min(turn for _, turn, _, _ in read.values())
        behind = {n: (what, since) for n, (_, turn, what, since) in read.items() if turn == first}
        limit = self.cluster.limits.hung
        if min(since for _, since in behind.values()) < limit:
            return None
        what = next(iter(behind.values()))[0]
        who = f"{', '.join(map(self.cluster.called, behind))} has not gone on"
        if len(behind) == len(read):
            who = "all hosts have stood still"
        return f"{who} for {limit:g} s, since {what!r}; {GO_ON}"
