"""Who tells where a host of a run is lost.

Whoever is lost cannot say so, and the others would wait for it in the middle of a program. So a
thread of each host gives signs of life and reads those of the others; it ends the process, by
saying which host is gone, hangs or has failed.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping

import jax

from r3jax import hosts
from r3jax.hosts import Cluster

BEATS = 10  # signs of life in the time after which a host counts as gone
GO_ON = "start the same command on all hosts, or on fewer: it goes on from the last checkpoint"


def await_lost(error: BaseException) -> None:
    """Where a program on devices has failed, the reason may be a host that is lost: waits until it
    would be named, which ends this process."""
    cluster = hosts.cluster()
    if cluster is not None and _of_a_program(error):
        time.sleep(1.5 * cluster.limits.gone)


def fail(error: BaseException) -> None:
    """Ends this process where there are other hosts, to whom it says why, so that they end too."""
    cluster = hosts.cluster()
    if cluster is None:
        return
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        cluster.tell("failed", f"{type(error).__name__}: {error}")
    end()


def _of_a_program(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, came from a program on devices."""
    while error is not None and not isinstance(error, jax.errors.JaxRuntimeError):
        error = error.__cause__ or error.__context__
    return error is not None


def end(message: str = "") -> None:
    """Ends this process at once: it may be in the midst of a program that will never end."""
    if message:
        print(message, file=sys.__stderr__)  # a progress bar may have taken sys.stderr
    for stream in (sys.stdout, sys.stderr, sys.__stderr__):
        stream.flush()
    cluster = hosts.cluster()
    if cluster is not None and cluster.number == cluster.hub:
        time.sleep(cluster.limits.gone / 2)  # the others ask it, and first need to hear the same
    os._exit(1)


class Watch:
    """Gives signs of life of a host of a cluster, and calls `end` with what to say where another is
    lost."""

    def __init__(
        self,
        cluster: Cluster,
        end: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ):
        self.cluster, self.end, self._now = cluster, end, now
        self.every = cluster.limits.gone / BEATS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._heard = now()  # when the hub last answered
        self._seen = [(0, now())] * len(cluster.names)  # each host's last beat, and when it came

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
                lost = self.lost(self.cluster.told("alive"), self.cluster.told("failed"))
                self._heard = self._now()
            except jax.errors.JaxRuntimeError as error:
                lost = None
                if self._now() - self._heard > self.cluster.limits.gone:
                    hub = self.cluster.called(self.cluster.hub)
                    lost = f"{hub}, whom all others ask, does not answer ({error}); {GO_ON}"
            if lost:
                self.end(lost)
                return

    def _sign(self, beat: int) -> str:
        cluster = self.cluster
        since = 0.0 if hosts.is_apart() else time.monotonic() - cluster.since
        return json.dumps([beat, cluster.turn, cluster.what, since])

    def lost(self, signs: Mapping[int, str], failed: Mapping[int, str]) -> str | None:
        """What to say where a host is lost: given the signs of life and last words of all."""
        cluster, now = self.cluster, self._now()
        for number, message in failed.items():
            if number != cluster.number:
                return f"{cluster.called(number)} has stopped: {message}"
        read = {number: json.loads(sign) for number, sign in signs.items()}
        for number, (beat, *_) in read.items():
            if self._seen[number][0] != beat:
                self._seen[number] = beat, now
        silent = [n for n, (_, at) in enumerate(self._seen) if now - at > cluster.limits.gone]
        if silent:
            who = ", ".join(map(cluster.called, silent))
            return f"{who} has given no sign of life for {cluster.limits.gone:g} s; {GO_ON}"
        return self._hung(read) if read else None

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
