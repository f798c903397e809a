"""Phases share out the time of a step: exactly, in their own thread, and only while one listens."""

import threading

import pytest

from r3jax import phases
from r3jax.phases import Phase, Recorder, listening, span


def make_clock(*readings: float):
    """A clock that shows `readings`, one a look."""
    remaining = iter(readings)
    return lambda: next(remaining)


def test_every_second_belongs_to_one_phase():
    """A span inside another one, an error in it, and time between spans."""
    recorder = Recorder(make_clock(10.0, 10.5, 11.5, 15.5, 17.5, 17.75, 19.75, 20.0))
    with listening(recorder):
        with span(Phase.UPDATE), pytest.raises(KeyError), span(Phase.LOG_PROBS):
            raise KeyError
        with span(Phase.UPDATE):
            pass
    found = recorder.times(step=7)
    expected = {Phase.IDLE: 0.5 + 0.25 + 0.25, Phase.UPDATE: 1.0 + 2.0 + 2.0, Phase.LOG_PROBS: 4.0}
    assert found.step == 7 and found.seconds == dict.fromkeys(Phase, 0.0) | expected
    assert sum(found.seconds.values()) == 20.0 - 10.0
    assert found.calls == dict.fromkeys(Phase, 0) | {Phase.UPDATE: 2, Phase.LOG_PROBS: 1}


def test_a_span_that_nobody_listens_to_does_nothing():
    recorder, result = Recorder(), object()
    with listening(recorder):
        pass
    assert span(Phase.DATA) is span(Phase.UPDATE)
    with span(Phase.DATA) as done:
        assert done(result) is result and done is not phases.jax.block_until_ready
    assert not any(recorder.times(0).calls.values())


def test_a_listener_waits_for_what_a_span_computes(monkeypatch):
    waited = []
    monkeypatch.setattr(phases.jax, "block_until_ready", lambda x: waited.append(x) or x)
    with listening(Recorder()), span(Phase.DECODE) as done:
        assert done("state") == "state"
    assert waited == ["state"]


def test_work_of_other_threads_is_not_time_of_the_step():
    recorder = Recorder()

    def work():
        with span(Phase.DATA):
            pass

    with listening(recorder):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not any(recorder.times(0).calls.values())
