"""Requests: what is taken, what is refused, and that nothing else ever happens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.data import chat
from r3jax.records import Turn
from r3jax.serve import protocol, questions
from r3jax.serve.errors import RequestError
from tests import tiny

RULES = protocol.Rules("vlm", max_images=2, max_characters=99)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "high"}}
WORDS = {"type": "text", "text": "What?"}
PLAIN = {"model": "vlm", "messages": [{"role": "user", "content": [IMAGE, WORDS]}]}


def read(**changes) -> protocol.ChatRequest:
    return protocol.read(json.dumps(PLAIN | changes).encode(), RULES)


def refused(**changes) -> RequestError:
    with pytest.raises(RequestError) as found:
        read(**changes)
    assert json.dumps(found.value.as_json())
    return found.value


def test_what_evaluation_harnesses_send_is_taken():
    found = read(
        max_tokens=4096, temperature=0, top_p=1.0, n=1, seed=-1, top_k=1, presence_penalty=0,
        repetition_penalty=1.0, chat_template_kwargs={}, response_format={"type": "text"},
        stop=None, stream=False, tools=[],
    )  # fmt: skip
    assert found.turns == (Turn("user", (0, "What?")),)
    assert found.urls == ("data:image/png;base64,AA",)
    assert found.places == ("messages[0].content[0]",)
    assert (found.temperature, found.max_tokens, found.seed) == (0, 4096, 2**31 - 1)
    assert not (found.answer_only or found.stream or found.trace or found.stops)
    assert read(model="vlm:answer").answer_only


def test_messages_may_be_words_or_parts_of_any_number_of_turns():
    system = {"role": "developer", "content": [WORDS, {"type": "text", "text": " Then?"}]}
    image = {"type": "image_url", "image_url": "https://a.example/b.png"}
    asked = {"role": "user", "content": [WORDS, image, IMAGE]}
    found = read(messages=[system, asked, {"role": "assistant", "content": "No."}, asked | {
        "content": "Why?"}])  # fmt: skip
    assert found.turns == (
        Turn("system", ("What? Then?",)),
        Turn("user", ("What?", 0, 1)),
        Turn("assistant", ("No.",)),
        Turn("user", ("Why?",)),
    )


@pytest.mark.parametrize(
    "changes, status, param, words",
    [
        ({"model": None}, 400, "model", "found null"),
        ({"model": "gpt" * 99}, 404, "model", "there are vlm and vlm:answer"),
        ({"messages": []}, 400, "messages", "expected a list of messages, found a list"),
        ({"messages": ["hm"]}, 400, "messages[0]", "found 'hm'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0].role", "assistant"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content", "found 3"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages", "at the end"),
        ({"messages": [{"role": "user", "content": "x" * 100}]}, 400, "messages", "shorten it"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "messages[0].content", "no t"),
        ({"messages": [{"role": "user", "content": [IMAGE] * 3}]}, 400, "messages", "at most 2"),
        ({"messages": [{"role": "system", "content": [IMAGE]}]}, 400, "messages[0].content[0]", ""),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400,
         "messages[0].content[0].image_url", "an object with a url"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 400,
         "messages[0].content[0]", "found 'audio'"),
        ({"temperature": 2.5}, 400, "temperature", "from 0 to 2, found 2.5"),
        ({"temperature": True}, 400, "temperature", "found true"),
        ({"temperature": float("nan")}, 400, "temperature", "found nan"),
        ({"top_p": 1.1}, 400, "top_p", "from 0 to 1"),
        ({"frequency_penalty": 2}, 400, "frequency_penalty", "not counted"),
        ({"tool_choice": "required"}, 400, "tool_choice", "no tools"),
        ({"x": [[]] * 2**17}, 400, None, "too many values"),
        ({"max_tokens": 0}, 400, "max_tokens", "from 1 on"),
        ({"max_completion_tokens": 1.5}, 400, "max_completion_tokens", "found 1.5"),
        ({"seed": "x"}, 400, "seed", "a whole number"),
        ({"stop": ["a", ""]}, 400, "stop", "not empty"),
        ({"stop": {}}, 400, "stop", "found an object"),
        ({"stream": "yes"}, 400, "stream", "true or false"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, 400,
         "stream_options.include_usage", "found 1"),
        ({"n": 2}, 400, "n", "one answer"),
        ({"n": True}, 400, "n", "one answer"),
        ({"tools": [{}]}, 400, "tools", "no tools"),
        ({"logprobs": True}, 400, "logprobs", "not returned"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes, status, param, words):
    found = refused(**changes)
    assert (found.status, found.param) == (status, param) and words in str(found)
    assert len(str(found)) < 400


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "no JSON"),
        (b"[" * 10**6, "too many values"),
        (b"[" * 10**5, "nested too deeply"),
        (b'{"model": ' * 10**5, "nested too deeply"),
        (b"\xff", "no JSON"),
        (b"9" * 10**5, "no JSON"),
        (b"[]", "expected an object, found a list"),
        (b'{"model": "vlm", "messages": ' + b"9" * 4000 + b"}", "a number of"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body, words):
    with pytest.raises(RequestError, match=words) as found:
        protocol.read(body, RULES)
    assert found.value.status == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats()
    | st.sampled_from(["", "é", "\ud800", "user", "text", "image_url", "vlm", "data:,"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "image_url", "url"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip
KEYS = ("model", "messages", "temperature", "top_p", "max_tokens", "seed", "stop", "stream", "n")


@given(st.dictionaries(st.sampled_from([*KEYS, "stream_options", "trace", "tools"]), VALUES))
def test_any_values_give_a_request_or_a_refusal(changes):
    body = json.dumps(PLAIN | changes).encode()
    try:
        assert protocol.read(body, RULES).turns
    except RequestError as error:
        assert error.status in (400, 404) and len(str(error)) < 400


FORM = chat.ChatFormat(system="Be kind.", instruction="Think.")


@pytest.mark.parametrize("parts", [(0, 1, "What?"), ("What?", 0, 1)])
def test_images_and_words_of_one_message_are_the_question_that_infer_asks(parts):
    images = (tiny.image(0), tiny.image(1))
    found = questions.question("id", [Turn("user", parts)], images, FORM)
    assert found.text == "What?" and found.turns == () and found.images == images


def test_in_a_conversation_the_instruction_follows_the_last_words_of_the_user():
    turns = (Turn("system", ("Be brief.",)), Turn("user", ("One:", 0, "two?")))
    found = questions.question("id", turns, (tiny.image(0),), FORM)
    assert found.turns == (turns[0], Turn("user", ("One:", 0, "two?\nThink.")))
    tokens = chat.build_prompt(found, tiny.tk(), FORM)[0].tokens
    text = tiny.tk().decode(tokens)
    assert "Be brief." in text and "Be kind." not in text and text.count("Think.") == 1
