"""Hosts that agree, and how one that is lost is named, without processes."""

import functools
import json
import threading
import time
import types

import jax
import pytest

from r3jax import hosts
from r3jax.hosts import Cluster, HostError, Limits
from r3jax.run import cluster, entry, train, watch
from r3jax.run.session import CheckpointConfig, Session

LIMITS = Limits(gone=10.0, hung=100.0)
NAMES = ("a", "b", "c")


class Store:
    """A coordination service within this process."""

    def __init__(self):
        self.kept, self.changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            assert allow_overwrite or key not in self.kept
            self.kept[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key, timeout_in_ms):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.kept, timeout_in_ms / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
            return self.kept[key]

    def key_value_delete(self, key):
        with self.changed:
            del self.kept[key]


def at_once(*functions):
    """What functions return or raise that run at the same time, each in a thread of its own."""
    found = [None] * len(functions)

    def run(number):
        try:
            found[number] = functions[number]()
        except HostError as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def clusters(limits=LIMITS):
    store = Store()
    return store, [Cluster(store, number, NAMES, limits) for number in range(len(NAMES))]


def test_all_hosts_hear_what_each_says_and_nothing_of_it_is_kept():
    store, of_hosts = clusters()
    for turn in range(4):
        said = [functools.partial(one.gather, "size", one.number + turn) for one in of_hosts]
        assert at_once(*said) == [[turn, 1 + turn, 2 + turn]] * 3
    assert len(store.kept) == 1  # what all said last


def test_a_host_that_is_out_of_step_is_named_by_all():
    _, of_hosts = clusters()
    what = ("prompts", "prompts", "crops")
    found = at_once(*(functools.partial(of_hosts[i].gather, what[i], 0) for i in range(3)))
    for number in (0, 1):
        assert "host 2 of 3 (c) is out of step: it came to 'crops', " in str(found[number])
    assert "host 0 of 3 (a) is out of step: it came to 'prompts'" in str(found[2])


def test_a_host_that_waits_for_others_does_not_hang():
    _, of_hosts = clusters()
    came = []

    def come_late():
        time.sleep(0.2)
        came.append(time.monotonic())
        return of_hosts[2].gather("crops", 0)

    at_once(*(functools.partial(of_hosts[i].gather, "crops", 0) for i in (0, 1)), come_late)
    assert all(one.since >= came[0] for one in of_hosts)


class Clock:
    """Seconds as a test says."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def watch_of(number=0):
    clock = Clock()
    return watch.Watch(Cluster(None, number, NAMES, LIMITS), end=None, now=clock), clock


def signs(*of_hosts):
    """Signs of life: beat, turn, what, since."""
    return {number: json.dumps(sign) for number, sign in enumerate(of_hosts)}


def test_a_silent_host_is_gone_and_a_slow_one_is_not():
    (watched, clock), alive = watch_of(), [1, 5, "crops", 0.0]
    assert watched.lost(signs(alive, alive, alive), {}) is None
    clock.seconds, moved = 9.0, [2, 5, "crops", 9.0]
    assert watched.lost(signs(moved, alive, moved), {}) is None
    clock.seconds, moved = 11.0, [3, 5, "crops", 11.0]
    told = watched.lost(signs(moved, alive, moved), {})
    assert told.startswith("host 1 of 3 (b) has given no sign of life for 10 s; start the same")


def test_a_host_that_never_spoke_is_gone_too():
    (watched, clock), alive = watch_of(), [1, 5, "crops", 0.0]
    clock.seconds = 11.0
    told = watched.lost(signs(alive, alive), {})
    assert told.startswith("host 2 of 3 (c) has given no sign of life")


def test_a_hung_host_is_the_one_that_is_behind():
    ahead, behind = [1, 6, "update", 99.0], [1, 5, "crops", 101.0]
    told = watch_of()[0].lost(signs(ahead, ahead, behind), {})
    assert told.startswith("host 2 of 3 (c) has not gone on for 100 s, since 'crops'")
    level = [1, 6, "update", 101.0]
    told = watch_of()[0].lost(signs(level, level, level), {})
    assert told.startswith("all hosts have stood still for 100 s, since 'update'")


def test_last_words_of_a_host_are_passed_on():
    sign = signs([1, 1, "x", 0.0])
    told = watch_of(0)[0].lost(sign, {1: "ValueError: no such file"})
    assert watch_of(1)[0].lost(sign, {1: "ValueError: no such file"}) is None  # they are its own
    assert told == "host 1 of 3 (b) has stopped: ValueError: no such file"


def test_where_the_others_cannot_be_asked_the_first_host_is_blamed():
    class Unreachable:
        def key_value_set(self, *args, **options):
            raise jax.errors.JaxRuntimeError("UNAVAILABLE")

    told = []
    limits = Limits(gone=0.01, hung=1.0)
    watched = watch.Watch(Cluster(Unreachable(), 1, NAMES, limits), end=told.append)
    watched.start()
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.001)
    watched.stop()
    assert told[0].startswith("host 0 of 3 (a), whom all others ask, does not answer (UNAVAIL")


def test_a_run_of_one_process_agrees_with_itself():
    assert hosts.gather("anything", [1, 2]) == [[1, 2]]
    assert hosts.most("size", 3) == 3 and hosts.all_hold("fits", [True, False]) == [True, False]
    assert hosts.leads() and not hosts.several()


def test_addresses_are_given_whole():
    with pytest.raises(ValueError, match="--coordinator, --hosts and --host belong together"):
        cluster.Address("10.0.0.1:1234", 4)
    assert cluster.Address(count=1).coordinator is None


@pytest.fixture
def of_two(monkeypatch):
    """This process as the second of two hosts, what it tells the other and how it ends."""
    told, ends = {}, []

    class Listening:
        def key_value_set(self, key, text, allow_overwrite):
            told[key] = text

    monkeypatch.setattr(hosts, "_cluster", Cluster(Listening(), 1, NAMES[:2], LIMITS))
    monkeypatch.setattr(watch, "end", lambda: ends.append(True))
    return told, ends


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), KeyboardInterrupt()])
def test_a_host_that_fails_tells_the_others_why_and_ends(error, of_two, capsys):
    def fail():
        raise error

    assert entry.call("train", fail) == 1
    told, ends = of_two
    assert told == {"r3jax/failed/1": f"{type(error).__name__}: {error}"} and ends == [True]
    assert "Traceback" in capsys.readouterr().err


def test_a_host_that_does_not_see_what_the_first_has_written_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(hosts, "leads", lambda: False)
    monkeypatch.setattr(train, "SHARED_S", 0.0)
    with pytest.raises(ValueError, match=r"config\.json is not what the first host has written"):
        train.keep_config("pretrain", Limits(), tmp_path)


def test_hosts_that_would_go_on_from_different_places_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(hosts, "gather", lambda what, value: [value, [3, value[1]]])
    config = types.SimpleNamespace(steps=4, checkpoint=CheckpointConfig(), tensorboard=False)
    with pytest.raises(ValueError, match=r"host 1 finds checkpoint and inputs \[3, .* share"):
        Session(tmp_path, "x", config, None, None, {}, {"data": "1"})


@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, None])
def test_errors_of_programs_wait_for_the_name_of_a_lost_host(kind, monkeypatch):
    slept = []
    monkeypatch.setattr(watch.time, "sleep", slept.append)
    monkeypatch.setattr(hosts, "_cluster", Cluster(None, 1, NAMES, LIMITS))
    error = ValueError("saving failed")
    error.__cause__ = kind and kind("connection reset")
    watch.await_lost(error)
    assert slept == ([15.0] if kind else [])
