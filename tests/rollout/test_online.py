"""A line of orders: each answered as if it were alone, in its own way, told of while it grows."""

import dataclasses
import functools
import queue
import threading

import numpy as np
import pytest

from r3jax.model.qwen import Policy
from r3jax.orders import Order, Progress
from r3jax.records import Episode, Group, LookOutcome, Source, Stop
from r3jax.rollout import engine, online
from tests import tiny
from tests.rollout import rolled

SHAPES = dataclasses.replace(tiny.BUCKETS, prompt_tokens=(48, 128))


def make_engine(rows: int = 3) -> engine.Engine:
    return online.make_engine(tiny.model(), tiny.tk(), tiny.FORM, SHAPES, rows)


@pytest.fixture(scope="module")
def served():
    """A line that is served until all tests of this file are done."""
    line = online.Line(make_engine())
    policy = line.engine.policy(tiny.looking_params())
    thread = threading.Thread(target=line.serve, args=[policy])
    thread.start()
    yield line
    line.close()
    thread.join(60)
    assert not thread.is_alive()


def ask(line: online.Line, *orders: Order, watched: bool = False) -> list[list]:
    """What is told of each, to the end."""
    told = [queue.Queue() for _ in orders]
    for order, one in zip(orders, told, strict=True):
        line.put(line.prepare_order(order), one.put, watched)
    heard = [[one.get(timeout=60)] for one in told]
    for one, found in zip(told, heard):
        while isinstance(found[-1], Progress):
            found.append(one.get(timeout=60))
    return heard


@functools.cache
def sampler(temperature: float, top_p: float) -> engine.Engine:
    return tiny.make_engine(size=1, episodes=1, temperature=temperature, top_p=top_p)


def alone(order: Order) -> Episode:
    """The episode of the only question of a rollout, as `VLM.look_again` makes it."""
    eng = sampler(order.temperature, order.top_p)
    policy = eng.policy(tiny.looking_params())
    (group,) = engine.collect(eng, policy, [order.question], order.seed, step=0)
    return group.episodes[0]


ORDERS = (
    Order(tiny.question(0)),
    Order(tiny.question(1), temperature=1.0, seed=3),
    Order(tiny.question(4)),
    Order(tiny.question(1), temperature=1.0, seed=4),
    Order(tiny.question(2), temperature=0.7, top_p=0.8, seed=3),
    Order(tiny.question(3), temperature=1.0, seed=2**31 - 1),
)


def test_whoever_asks_beside_others_is_answered_as_if_alone(served):
    found = ask(served, *ORDERS)
    for order, (group,) in zip(ORDERS, found):
        assert group.question.id == order.question.id
        rolled.assert_same_episode(group.episodes[0], alone(order))
    assert any(group.episodes[0].looks for (group,) in found)
    again = ask(served, *ORDERS[::-1])[::-1]
    for (one,), (other,) in zip(found, again):
        rolled.assert_same_episode(one.episodes[0], other.episodes[0])


def test_progress_adds_up_to_the_episode_with_looks_where_they_were_taken(served):
    (told,) = ask(served, Order(tiny.question(4)), watched=True)
    *progress, group = told
    episode = group.episodes[0]
    assert len(progress) > 2 and "".join(one.text for one in progress) == episode.text
    assert [look for one in progress for look in one.looks] == list(episode.looks)
    written = ""
    for one in progress:
        if one.looks:
            assert written.endswith("}")
        written += one.text


def test_max_tokens_is_the_budget_of_text_and_looks_together(served):
    whole = alone(Order(tiny.question(0)))
    assert whole.stop is Stop.ANSWER and whole.looks
    boxed = int(np.flatnonzero(whole.source != Source.SAMPLED)[0])
    lengths = (1, boxed, boxed + 1, len(whole.tokens) - 1, 10**9)
    orders = [Order(tiny.question(0), max_tokens=length) for length in lengths]
    for length, (group,) in zip(lengths, ask(served, *orders)):
        (episode,) = group.episodes
        if length > len(whole.tokens):
            rolled.assert_same_episode(episode, whole)
            continue
        assert episode.stop is Stop.LENGTH and len(episode.tokens) <= length
        assert episode.tokens.tolist() == whole.tokens[: len(episode.tokens)].tolist()
        # A crop that has no room is not shown.
        assert len(episode.looks) == (length == lengths[3])


def test_an_order_that_is_given_up_makes_room_and_is_not_told_of(served):
    endless = Order(dataclasses.replace(tiny.question(0), images=()), temperature=2.0)
    told, others = queue.Queue(), queue.Queue()
    places = [
        served.put(served.prepare_order(dataclasses.replace(endless, seed=n)), told.put, True)
        for n in range(5)
    ]
    for place in places:
        served.give_up(place)
    served.put(served.prepare_order(ORDERS[0]), others.put)
    assert isinstance(others.get(timeout=60), Group)
    assert not any(isinstance(one, Group) for one in told.queue)
    stopped = queue.Queue()
    place = served.put(served.prepare_order(endless), stopped.put)
    served.stop(place)
    assert isinstance(stopped.get(timeout=60), Group)


def test_a_question_without_an_image_is_told_that_there_is_none(served):
    asked = dataclasses.replace(tiny.question(0), images=())
    ((group,),) = ask(served, Order(asked))
    outcomes = {look.outcome for look in group.episodes[0].looks}
    assert outcomes <= {LookOutcome.NO_IMAGE, LookOutcome.TOO_MANY}


def test_a_prompt_for_which_there_is_no_room_is_refused_before_it_stands_in_line(served):
    long = dataclasses.replace(tiny.question(0), text="what is there? " * 60)
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens, .* at most 129 are taken"):
        served.prepare_order(Order(long))
    many = dataclasses.replace(tiny.question(0), images=(tiny.image(0)[:60, :60],) * 7)
    with pytest.raises(ValueError, match="images of a request: 7 images of 7 windows"):
        served.prepare_order(Order(many))


def test_who_is_in_line_when_the_engine_fails_is_told_and_nobody_is_let_in_after():
    line = online.Line(make_engine())
    told = queue.Queue()
    line.put(line.prepare_order(ORDERS[0]), told.put)
    with pytest.raises(Exception, match=r"patch_embed|params|vision") as failed:
        line.serve(Policy({}, []))
    assert told.get(timeout=10) is failed.value
    with pytest.raises(RuntimeError, match="the line is closed"):
        line.put(line.prepare_order(ORDERS[0]), told.put)


def test_a_line_takes_engines_whose_questions_come_one_at_a_time():
    with pytest.raises(ValueError, match="expected episodes 1 and exchange 1, found 3 and None"):
        online.Line(tiny.make_engine())
