"""Conversations with an endpoint: in order, many at a time, nothing asked twice, tokens kept."""

import json
import sqlite3
import threading

import pytest

from r3jax.completions import Answer
from r3jax.endpoint import HOPELESS, Endpoint, EndpointConfig, EndpointError
from tests.scripted_endpoint import Reply, serving

TAKEN = ("accepts", "stops", "must_keep")  # by an endpoint beside its config


def endpoint(url: str, **options) -> Endpoint:
    given = {name: options.pop(name) for name in TAKEN if name in options}
    quick = {"backoff_s": 0.0, "timeout_s": 5.0, "at_once": 4}
    return Endpoint(EndpointConfig(url, "model", **quick | options), **given)


def counting(number: int, turns: int):
    """Asks for the next number `turns` times; ends with all that was said."""
    messages = [{"role": "user", "content": str(number)}]
    heard = []
    for _ in range(turns):
        said = yield messages
        heard.append(said)
        if isinstance(said, EndpointError):
            break
        messages = [*messages, {"role": "assistant", "content": said.text}]
    return heard


def next_number(number: int, request: dict) -> Reply:
    last = int(request["messages"][-1]["content"])
    usage = {"prompt_tokens": 10 * len(request["messages"]), "completion_tokens": 1}
    message = {"choices": [{"message": {"content": str(last + 1)}}], "usage": usage}
    return Reply(body=json.dumps(message), delay_s=0.03 * (last % 3))


def test_conversations_end_in_the_order_they_began_in_and_overlap():
    present, most, lock = set(), [0], threading.Lock()

    def answer(number: int, request: dict) -> Reply:
        with lock:
            present.add(number)
            most[0] = max(most[0], len(present))
        reply = next_number(number, request)
        threading.Event().wait(reply.delay_s)
        with lock:
            present.discard(number)
        return Reply(body=reply.body)

    with serving(answer) as script:
        talks = (counting(10 * n, 1 + n % 3) for n in range(20))
        found = list(endpoint(script.url).hold_all(talks))
    for n, heard in enumerate(found):
        expected = [Answer(str(10 * n + turn), (10 * turn, 1)) for turn in range(1, 2 + n % 3)]
        assert heard == expected
    assert 1 < most[0] <= 4


def test_kept_answers_and_their_tokens_are_told_again_and_not_asked_for(tmp_path):
    kept = str(tmp_path / "kept.sqlite")
    with serving(next_number) as script:
        first = list(endpoint(script.url, kept=kept).hold_all(counting(n, 2) for n in range(5)))
        asked = len(script.requests)
        again = endpoint("http://127.0.0.1:9/v1", kept=kept)
        assert list(again.hold_all(counting(n, 2) for n in range(5))) == first
        assert again.answered == 0
    assert asked == 10


def test_equal_requests_at_one_time_are_sent_once_where_answers_are_kept(tmp_path):
    with serving(next_number) as script:
        asked = endpoint(script.url, kept=str(tmp_path / "kept.sqlite"), at_once=8)
        found = list(asked.hold_all(counting(2, 1) for _ in range(30)))
        assert len(script.requests) == 1 and len({tuple(heard) for heard in found}) == 1


def test_an_endpoint_that_always_fails_is_given_up_and_the_rest_is_not_begun():
    begun = []

    def talks():
        for n in range(500):
            begun.append(n)
            yield counting(n, 1)

    with serving(lambda number, request: Reply(status=503)) as script:
        found = list(endpoint(script.url, tries=1).hold_all(talks()))
    assert all(isinstance(heard[0], EndpointError) for heard in found)
    assert HOPELESS <= len(found) == len(begun) < 60


def test_a_message_that_is_not_accepted_is_told_when_all_tries_have_brought_one():
    with serving(lambda number, request: Reply("Well.")) as script:
        asked = endpoint(script.url, tries=2, accepts=str.isdigit)
        ((error,),) = asked.hold_all([counting(1, 1)])
        assert error.refused == "Well." and len(script.requests) == 2
    with serving(lambda number, request: Reply("Well." if number else "", 500)) as script:
        ((error,),) = endpoint(script.url, tries=1, accepts=str.isdigit).hold_all([counting(1, 1)])
        assert error.refused is None


def test_who_says_something_else_than_was_asked_for_is_not_given_up():
    with serving(lambda number, request: Reply("Well.")) as script:
        asked = endpoint(script.url, tries=1, accepts=str.isdigit)
        found = list(asked.hold_all(counting(n, 1) for n in range(2 * HOPELESS)))
    assert [heard[0].refused for heard in found] == ["Well."] * 2 * HOPELESS


@pytest.mark.parametrize(
    ("status", "refused"),
    [(400, "400 bad"), (413, "413 bad"), (422, "422 bad"), (401, None), (404, None), (429, None)],
)
def test_a_request_that_is_none_is_refused_and_an_endpoint_that_is_none_is_not(status, refused):
    with serving(lambda number, request: Reply(status=status, body="bad")) as script:
        ((error,),) = endpoint(script.url, tries=1).hold_all([counting(1, 1)])
    assert (error.status, error.refused) == (status, refused)


def test_any_text_is_kept(tmp_path):
    odd = "half \ud83d, nothing \0, \u00fc"
    with serving(lambda number, request: Reply(body=json.dumps(
        {"choices": [{"message": {"content": odd}}]}
    ))) as script:  # fmt: skip
        asked = endpoint(script.url, kept=str(tmp_path / "kept.sqlite"), must_keep=True)
        for _ in range(2):
            assert list(asked.hold_all([counting(1, 1)])) == [[Answer(odd, None)]]
        assert len(script.requests) == 1


def test_what_must_be_kept_and_cannot_be_is_an_error(tmp_path):
    kept = tmp_path / "kept.sqlite"
    with serving(next_number) as script:
        strict, other = (endpoint(script.url, kept=str(kept), must_keep=m) for m in (True, False))
        with sqlite3.connect(kept) as file:
            file.execute("drop table kept")
        with pytest.raises(ValueError, match=r"kept\.sqlite: answers cannot be kept there"):
            list(strict.hold_all([counting(1, 1)]))
        assert list(other.hold_all([counting(1, 1)])) == [[Answer("2", (10, 1))]]


def test_a_message_is_not_refused_for_good_while_tries_are_left():
    stops = threading.Event()

    def answer(number: int, request: dict) -> Reply:
        stops.set()
        return Reply("Well.", delay_s=1.5)

    with serving(answer) as script:
        asked = endpoint(script.url, accepts=str.isdigit, stops=stops.is_set)
        ((error,),) = asked.hold_all([counting(1, 1)])
    assert error.refused is None and "no answer: 'Well.'" in str(error)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 3}, {"prompt_tokens": "3"}, 7])
def test_tokens_that_are_not_told_are_none(usage):
    message = {"choices": [{"message": {"content": "1"}}], "usage": usage}
    with serving(lambda number, request: Reply(body=json.dumps(message))) as script:
        ((answer,),) = endpoint(script.url).hold_all([counting(1, 1)])
    assert answer == Answer("1", None)


def test_who_stops_listening_stops_the_rest():
    with serving(next_number) as script:
        found = endpoint(script.url, at_once=2).hold_all(counting(n, 1) for n in range(100))
        next(found)
        found.close()
        assert len(script.requests) < 20
