"""The hosts of a run, a process each, and how they agree on what comes next.

A program runs on the devices of all hosts at once, so all must call the same programs in the same
order, whatever the episodes of each do. What decides which one comes next is either in arrays that
every host reads, or agreed on here: each says what its own part of the work needs, and all go by
what any of them needs. A host that comes with something else ends the run by name; one that does
not come is for `run/watch.py` to name.

A run of one process agrees with itself, at no cost.
"""

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

_ROOM = "r3jax"  # under which keys the hosts talk
_PATIENCE_MS = 60_000  # after which a host asks again for what has not been said


class HostError(RuntimeError):
    """Another host is gone, hangs, or does something else than this one."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many seconds until a host counts as gone (no sign of life) or as hung (it lives, but has
    not gone on).

    Raises: ValueError for a limit that is not positive.
    """

    gone: float = 30.0
    hung: float = 1800.0

    def __post_init__(self):
        if self.gone <= 0 or self.hung <= 0:
            raise ValueError(f"hosts: limits must be above 0 seconds, found {self}")


@dataclasses.dataclass
class Cluster:
    """What this process knows of the hosts of its run: their `names` by number, and which of them
    the others ask (`hub`). `turn` counts what they have agreed on, `what` was the last thing that
    this one began, at `since` (monotonic seconds)."""

    client: Any
    number: int
    names: Sequence[str]
    limits: Limits
    hub: int = 0
    turn: int = 0
    what: str = "start"
    since: float = dataclasses.field(default_factory=time.monotonic)

    def called(self, number: int) -> str:
        """A host by number and name."""
        return f"host {number} of {len(self.names)} ({self.names[number]})"

    def goes_on(self, what: str) -> None:
        """This host begins something."""
        self.what, self.since = what, time.monotonic()

    def gather(self, what: str, value: Any) -> list[Any]:
        """The values of all hosts, which all come to the same `what`."""
        self.turn += 1
        self.goes_on(what)
        said = json.dumps([what, value])
        if self.number:
            self.client.key_value_set(self._key(self.turn, self.number), said)
            found = json.loads(self._hear(self._key(self.turn, "all")))
            self.client.key_value_delete(self._key(self.turn, self.number))
        else:
            others = range(1, len(self.names))
            found = [said, *(self._hear(self._key(self.turn, n)) for n in others)]
            found = [json.loads(one) for one in found]
            self.client.key_value_set(self._key(self.turn, "all"), json.dumps(found))
            if self.turn > 1:  # whoever has come to this turn has read what all said before it
                self.client.key_value_delete(self._key(self.turn - 1, "all"))
        for number, (theirs, _) in enumerate(found):
            if theirs != what:
                raise HostError(
                    f"{self.called(number)} is out of step: it came to {theirs!r}, "
                    f"{self.called(self.number)} to {what!r}. Have all the same code, config and "
                    "data?"
                )
        self.since = time.monotonic()  # the time that it waited for others is theirs
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

    def _hear(self, key: str) -> str:
        """What stands under a key, as soon as it does; those who watch say when it takes too long.

        Raises: HostError where nobody can be asked.
        """
        while True:
            try:
                return self.client.blocking_key_value_get(key, _PATIENCE_MS)
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    lost = self.called(self.hub)
                    raise HostError(f"{lost} does not answer at {self.what!r}: {error}") from error


_cluster: Cluster | None = None
_apart = False


def join(limits: Limits) -> Cluster | None:
    """Makes the processes of `jax.distributed`, which is initialised, the hosts of this run.

    None where there is one.
    """
    global _cluster
    if jax.process_count() > 1:
        from jax._src import distributed  # the client that multihost_utils uses has no public name

        state, count = distributed.global_state, jax.process_count()
        unnamed = [str(number) for number in range(count)]
        _cluster = Cluster(state.client, jax.process_index(), unnamed, limits)
        known = gather("names", [socket.gethostname(), state.process_id == 0])
        _cluster.names = [name for name, _ in known]
        _cluster.hub = [serves for _, serves in known].index(True)
    return _cluster


def leave() -> None:
    """The hosts have parted: this one agrees with itself from now on."""
    global _cluster
    _cluster = None


def cluster() -> Cluster | None:
    """The hosts of this run; None where there is one."""
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


def goes_on(what: str) -> None:
    """Says that this host has come to something, which may take long: it does not hang."""
    if _cluster is not None:
        _cluster.goes_on(what)


def several() -> bool:
    """Whether the run has other hosts."""
    return _cluster is not None


def leads() -> bool:
    """Whether this is the host that writes what there is one of: the first."""
    return _cluster is None or _cluster.number == 0


def is_apart() -> bool:
    """Whether this host works for itself just now."""
    return _apart


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within the block this host works for itself, on its own devices: it agrees with nobody."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before
        goes_on("the others")
