"""Replies: texts end at stops, tokens are counted up to there, looks after it are gone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.records import Group, Question, Source, Stop
from r3jax.serve import protocol, replies
from tests import tiny

HEAD = replies.Heading("chatcmpl-1", 0, "vlm")


def group() -> Group:
    """A teacher's episode of two looks."""
    one = tiny.two_look_trace(4)
    prompt, episode = tiny.teach(one)
    return Group(one.question, prompt, (episode,))


def request(**options) -> protocol.ChatRequest:
    plain = dict(
        model="vlm", turns=(), urls=(), places=(), answer_only=False, temperature=0.0, top_p=1.0,
        max_tokens=None, seed=0, stops=(), stream=False, include_usage=False, trace=False,
    )  # fmt: skip
    return protocol.ChatRequest(**plain | options)


def test_a_reply_has_text_usage_and_where_it_is_asked_for_the_trace():
    (episode,) = group().episodes
    found = replies.whole(HEAD, request(trace=True), group(), episode)
    message = found["choices"][0]["message"]
    assert message["content"] == episode.text == "".join(tiny.TWO_LOOKS)
    assert [look["outcome"] for look in message["trace"]["looks"]] == ["ok", "ok"]
    assert all(look["crop"].startswith("data:image/png") for look in message["trace"]["looks"])
    counted = found["usage"]["completion_tokens_details"]
    assert counted["image_tokens"] == int((episode.source == Source.IMAGE).sum()) > 0
    plain = replies.whole(HEAD, request(answer_only=True), group(), episode)
    assert plain["choices"][0]["message"] == {"role": "assistant", "content": "5"}


@pytest.mark.parametrize("stop, looks", [("think", 0), ("56, 112", 1), ("</think>", 2)])
def test_an_episode_is_cut_at_the_token_that_completes_a_stop(stop, looks):
    (episode,) = group().episodes
    found = replies.cut_at_stops(episode, (stop, "never"), tiny.tk().token_bytes())
    assert found.text == episode.text[: episode.text.index(stop)]
    assert found.stop is Stop.END and len(found.looks) == looks
    count = len(found.tokens)
    assert len(found.source) == len(found.logp) == found.positions.shape[1] == count
    kept = found.tokens[found.source != Source.IMAGE]
    assert stop in tiny.tk().decode(kept) and stop not in tiny.tk().decode(kept[:-1])
    # What was decoded beyond the stop before somebody saw it changes nothing.
    longer = dataclasses.replace(
        episode,
        tokens=np.append(episode.tokens, episode.tokens[:9]),
        source=np.append(episode.source, episode.source[:9]),
        logp=np.append(episode.logp, episode.logp[:9]),
        positions=np.concatenate([episode.positions, episode.positions[:, :9]], axis=1),
        text=episode.text + tiny.tk().decode(episode.tokens[:9]),
    )
    again = replies.cut_at_stops(longer, (stop, "never"), tiny.tk().token_bytes())
    assert again.tokens.tolist() == found.tokens.tolist() and again.text == found.text


@given(
    st.text("ab", max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_a_stream_shows_what_is_before_the_stop_that_is_complete_first(text, stops, cuts):
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    expected = text[: min(ends)[1]] if ends else text
    gate, shown, at = replies.Gate(stops), "", 0
    for cut in [*sorted(cuts), len(text)]:
        shown += gate.through(text[at:cut])
        at = max(at, cut)
        assert expected.startswith(shown)
    assert gate.closed == bool(ends)
    if gate.closed:
        assert shown == expected


def test_events_are_lines_of_json():
    event = replies.event(replies.chunk(HEAD, {"content": "a\n\nb"}))
    assert event.startswith(b"data: {") and event.endswith(b"}\n\n") and event.count(b"\n") == 2
    assert isinstance(group().question, Question)
