"""The hosts of a run, a process each, and how they agree on what comes next.

A program runs on the devices of all hosts at once, so all must call the same programs in the same
order, whatever the episodes of each do. What decides which one comes next is either in arrays that
every host reads, or agreed on here: each says what its own part of the work needs, and all go by
what any of them needs. A host that comes with something else, or not at all, ends the run by name.

A run of one process agrees with itself, at no cost.
"""

import contextlib
import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

_ROOM = "r3jax"  # under which keys the hosts talk


class HostError(RuntimeError):
    """Another host is gone, hangs, or does something else than this one."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many seconds until a host counts as gone (no sign of life) or as hung (it lives, but has
    not gone on)."""

    gone: float = 30.0
    hung: float = 1800.0


@dataclasses.dataclass
class Cluster:
    """What this process knows of the hosts of its run: `names` by number; `turn` counts what they
    have agreed on, `what` was the last of it, which began at `since` (monotonic seconds)."""

    client: Any
    number: int
    names: Sequence[str]
    limits: Limits
    turn: int = 0
    what: str = "start"
    since: float = dataclasses.field(default_factory=time.monotonic)

    def called(self, number: int) -> str:
        """A host by number and name."""
        return f"host {number} of {len(self.names)} ({self.names[number]})"

    def gather(self, what: str, value: Any) -> list[Any]:
        self.turn, self.what, self.since = self.turn + 1, what, time.monotonic()
        said = json.dumps([what, value])
        if self.number:
            self.client.key_value_set(self._key(self.turn, self.number), said)
            found = json.loads(self._hear(self._key(self.turn, "all"), 0))
            self._forget(self.turn, self.number)
        else:
            others = range(1, len(self.names))
            found = [said, *(self._hear(self._key(self.turn, n), n) for n in others)]
            found = [json.loads(one) for one in found]
            self.client.key_value_set(self._key(self.turn, "all"), json.dumps(found))
            self._forget(self.turn - 1, "all")  # whoever has come to this turn has read that one
        for number, (theirs, _) in enumerate(found):
            if theirs != what:
                raise HostError(
                    f"{self.called(number)} is out of step: it came to {theirs!r}, "
                    f"{self.called(self.number)} to {what!r}. Have all the same code, config and "
                    "data?"
                )
        return [value for _, value in found]

    def tell(self, what: str, text: str) -> None:
        """Says something of this host, instead of what it said before."""
        self.client.key_value_set(f"{_ROOM}/{what}/{self.number}", text, allow_overwrite=True)

    def told(self, what: str) -> dict[int, str]:
        """What each host has said, of those that have."""
        found = self.client.key_value_dir_get(f"{_ROOM}/{what}/")
        return {int(key.rpartition("/")[2]): text for key, text in found}

    def _key(self, turn: int, who: int | str) -> str:
        return f"{_ROOM}/turn/{turn}/{who}"

    def _hear(self, key: str, of: int) -> str:
        # Longer than the watch waits, which knows more than who is missing here.
        patience = int(1000 * (self.limits.hung + 2 * self.limits.gone))
        try:
            return self.client.blocking_key_value_get(key, patience)
        except jax.errors.JaxRuntimeError as error:
            raise HostError(f"{self.called(of)} did not come to {self.what!r}: {error}") from error

    def _forget(self, turn: int, who: int | str) -> None:
        if turn:
            self.client.key_value_delete(self._key(turn, who))


_cluster: Cluster | None = None
_apart = False


def join(limits: Limits = Limits()) -> Cluster | None:
    """Makes the processes of `jax.distributed`, which is initialised, the hosts of this run.

    None where there is one.
    """
    global _cluster
    if jax.process_count() > 1:
        from jax._src import distributed  # the client that multihost_utils uses has no public name

        number, count = jax.process_index(), jax.process_count()
        unnamed = [str(n) for n in range(count)]
        _cluster = Cluster(distributed.global_state.client, number, unnamed, limits)
        _cluster.names = gather("names", socket.gethostname())
    return _cluster


def gather(what: str, value: Any) -> list[Any]:
    """The values of all hosts, in their order: JSON values, of which each host gives one.

    All come to the same `what` in turn. Raises: HostError naming a host that does not.
    """
    return [value] if _cluster is None or _apart else _cluster.gather(what, value)


def most(what: str, number: int) -> int:
    """The largest of the hosts' numbers."""
    return max(gather(what, number))


def all_hold(what: str, holds: Sequence[bool]) -> list[bool]:
    """What holds on every host, of several things."""
    return [all(of) for of in zip(*gather(what, list(holds)), strict=True)]


def any_of(what: str, holds: bool) -> bool:
    """Whether something holds on any host."""
    return any(gather(what, holds))


def wait(what: str) -> None:
    """Waits until every host has come here."""
    gather(what, None)


def several() -> bool:
    """Whether the run has other hosts."""
    return _cluster is not None


def leads() -> bool:
    """Whether this is the host that writes what there is one of: the first."""
    return _cluster is None or _cluster.number == 0


def blame() -> None:
    """After a program has failed: waits until another host, which may be the reason, would count as
    gone. Where it does, this process ends here."""
    if _cluster is not None:
        time.sleep(1.5 * _cluster.limits.gone)


def fail(message: str) -> None:
    """Ends this process where there are other hosts, which will say why and end, too."""
    if _cluster is None:
        return
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _cluster.tell("failed", message)
    end()


def end(message: str = "") -> None:
    """Ends this process at once: it may be in the midst of a program that will never end."""
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if leads() and several():  # the others ask it, and first need to hear the same
        time.sleep(_cluster.limits.gone / 2)
    os._exit(1)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within the block this host works for itself, on its own devices: it agrees with nobody."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before
