"""A served model under its real clients: answers, batches, streams, limits, the end."""

import asyncio
import concurrent.futures
import contextlib
import signal
import socket
import threading

import numpy as np
import openai
import pytest
import requests

from r3jax.run import vlm
from tests import tiny
from tests.run import browser, hostile, models, served

pytestmark = pytest.mark.slow

FLAGS = (
    "--rows=4",
    "--queue=60",
    "--max_text_tokens=200",
    "--max_question_tokens=128",
    "--max_images=2",
    "--timeout_s=120",
    "--max_body_bytes=1000000",
    "--max_pixels=1000000",
)


@pytest.fixture(scope="module")
def started():
    with served.serve(*FLAGS) as (address, process):
        yield address, process
        health = requests.get(f"{address}/healthz", timeout=10).json()
        assert health == {"model": "looking", "status": "ready", "requests": 0, "compiles": 0}


@pytest.fixture(scope="module")
def server(started):
    return started[0]


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def episodes():
    """What `launch/infer.py` finds for the first questions, greedily."""
    model = vlm.from_pretrained(models.looking())
    return [model.look_again(q.images[0], q.text, max_text_tokens=200) for q in tiny.questions(6)]


def ask(client, number: int, **options):
    question = tiny.question(number)
    return client.chat.completions.create(
        model="looking", messages=served.messages(question.text, *question.images), **options
    )


def test_32_requests_at_once_are_answered_as_each_would_be_alone(client, episodes):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda n: ask(client, n % 6), range(32)))
    assert len(found) == 32 and any(episode.looks for episode in episodes)
    for number, reply in enumerate(found):
        episode = episodes[number % 6]
        assert reply.choices[0].message.content == episode.text
        assert reply.usage.completion_tokens == len(episode.tokens)
        assert reply.usage.total_tokens == len(episode.tokens) + reply.usage.prompt_tokens
        finish = "length" if episode.stop == "length" else "stop"
        assert reply.choices[0].finish_reason == finish


def test_a_stream_brings_the_text_the_looks_and_the_usage(client, episodes):
    whole = ask(client, 4, extra_body={"trace": True})
    trace = whole.choices[0].message.trace
    assert trace["text"] == whole.choices[0].message.content == episodes[4].text
    assert len(trace["looks"]) == len(episodes[4].looks) > 0
    chunks = list(
        ask(client, 4, stream=True, stream_options={"include_usage": True},
            extra_body={"trace": True})
    )  # fmt: skip
    assert len(chunks) > 5 and chunks[-1].usage == whole.usage
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == episodes[4].text
    assert [c.look for c in chunks if hasattr(c, "look")] == trace["looks"]
    assert trace["looks"][0]["crop"].startswith("data:image/png;base64,")
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_the_answer_alone_comes_under_the_name_with_the_suffix(client, episodes):
    answered = next(n for n, episode in enumerate(episodes) if episode.answer)
    question = tiny.question(answered)
    asked = {
        "model": "looking:answer",
        "messages": served.messages(question.text, *question.images),
    }
    reply = client.chat.completions.create(**asked)
    assert reply.choices[0].message.content == episodes[answered].answer
    stream = client.chat.completions.create(**asked, stream=True)
    parts = [chunk.choices[0].delta.content for chunk in stream]
    assert "".join(part or "" for part in parts) == episodes[answered].answer


def test_a_text_ends_before_its_stop_whether_it_is_streamed_or_not(client, episodes):
    text = episodes[0].text
    stop = text[len(text) // 2 :][:5]
    expected = text[: text.index(stop)]
    reply = ask(client, 0, stop=[stop, "never"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (expected, "stop")
    chunks = list(ask(client, 0, stop=stop, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == expected
    assert chunks[-1].usage == reply.usage and reply.usage.completion_tokens < len(
        episodes[0].tokens
    )


def test_an_equal_seed_gives_an_equal_answer_and_greedy_beside_it_stays_greedy(client, episodes):
    how = [{"temperature": 1.5, "seed": seed} for seed in (7, 8, 7)] + [{}, {"max_tokens": 9}]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda options: ask(client, 0, **options), how))
    texts = [reply.choices[0].message.content for reply in found]
    assert texts[0] == texts[2] != texts[1] and texts[3] == episodes[0].text
    assert found[4].choices[0].finish_reason == "length" and found[4].usage.completion_tokens == 9


def test_conversations_with_several_images_and_with_none_are_answered(client):
    first, second = tiny.question(0), tiny.question(1)
    turns = [
        {"role": "system", "content": [{"type": "text", "text": "what is there?"}]},
        *served.messages(first.text, *first.images, kind="JPEG"),
        {"role": "assistant", "content": "line B"},
        *served.messages(second.text, *second.images, kind="WEBP", lossless=True),
    ]
    for messages in (turns, [{"role": "user", "content": "what is there?"}]):
        reply = client.chat.completions.create(model="looking", messages=messages, max_tokens=20)
        assert reply.usage.completion_tokens > 0


def test_models_are_listed_and_others_are_not_there(client):
    assert [model.id for model in client.models.list()] == ["looking", "looking:answer"]
    assert client.models.retrieve("looking").id == "looking"
    with pytest.raises(openai.NotFoundError, match="the model 'gpt' does not exist"):
        ask_other = {"model": "gpt", "messages": [{"role": "user", "content": "hm"}]}
        client.chat.completions.create(**ask_other)


def test_who_goes_away_frees_the_row(server):
    body = {
        "model": "looking",
        "messages": [{"role": "user", "content": "what is there?"}],
        "temperature": 2,
        "stream": True,
    }
    for seed in range(12):
        with requests.post(
            f"{server}/v1/chat/completions", json={**body, "seed": seed}, stream=True, timeout=60
        ) as response:
            next(response.iter_content(16))
    served.wait_until(lambda: requests.get(f"{server}/healthz", timeout=10).json()["requests"] == 0)


def test_who_sends_slowly_takes_nobody_elses_room(server, client, episodes):
    host, port = server.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    with contextlib.ExitStack() as open_ones:
        for _ in range(70):  # more than there is room for
            one = open_ones.enter_context(socket.create_connection((host, int(port))))
            one.sendall(head.encode())
        assert ask(client, 0).choices[0].message.content == episodes[0].text


def test_a_temperature_too_low_to_divide_by_is_greedy(client, episodes):
    assert ask(client, 0, temperature=3e-38).choices[0].message.content == episodes[0].text
    assert ask(client, 0, temperature=1, top_p=0).choices[0].message.content == episodes[0].text


def test_whatever_hostile_clients_send_gets_its_status_and_the_server_goes_on(started):
    server, process = started
    counts = asyncio.run(hostile.attack(server, range(400)))
    assert set(counts) == set(hostile.KINDS) and min(counts.values()) > 5
    before = served.resident_bytes(process)
    asyncio.run(hostile.attack(server, range(400, 800)))
    assert served.resident_bytes(process) - before < 2**25, "memory stays flat"
    assert requests.get(f"{server}/healthz", timeout=10).json()["requests"] == 0


def test_a_server_that_is_full_says_so_keeps_its_key_and_ends_when_all_is_answered():
    flags = ("--queue=0", "--key_variable=R3JAX_KEY", "--name=one", "--answer_only")
    with served.serve(*FLAGS, *flags, env={"R3JAX_KEY": "secret"}) as (address, process):
        where = f"{address}/v1/chat/completions"
        body = {"model": "one", "messages": served.messages(tiny.question(0).text, tiny.image(0))}
        assert requests.post(where, json=body, timeout=60).status_code == 401
        assert requests.get(f"{address}/v1/models", timeout=60).status_code == 401
        headers = {"Authorization": "Bearer secret"}
        barrier = threading.Barrier(12)

        def post(_):
            barrier.wait()
            return requests.post(where, json=body, headers=headers, timeout=60)

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            found = list(pool.map(post, range(12)))
        statuses = {response.status_code for response in found}
        assert statuses == {200, 429}
        full = next(response for response in found if response.status_code == 429)
        assert full.headers["Retry-After"] and full.json()["error"]["code"] == "queue_full"
        # What is being answered when the signal comes is answered.
        slow = {**body, "temperature": 2, "stream": True}
        with requests.post(where, json=slow, headers=headers, stream=True, timeout=60) as response:
            parts = response.iter_content(None)
            next(parts)
            process.send_signal(signal.SIGTERM)
            assert b"".join(parts).endswith(b"data: [DONE]\n\n")
        assert process.wait(60) == 0


DROP = """
(() => {
  const bytes = Uint8Array.from(atob(%r), c => c.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], "<b>street</b>.png", {type: "image/png"}));
  document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
})()
"""


@pytest.mark.browser
def test_a_person_drops_an_image_asks_and_watches_boxes_and_crops_appear(
    server, episodes, tmp_path
):
    if browser.BINARY is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    asyncio.run(watch(server, episodes[4], tmp_path / "profile"))


async def watch(server, episode, profile):
    question = tiny.question(4)
    async with browser.opened(server, profile) as tab:
        await tab.until("document.getElementById('model')?.textContent === 'looking'")
        payload = served.data_url(question.images[0]).partition(",")[2]
        await tab.value(DROP % payload)
        await tab.until("document.activeElement.id === 'question'")
        assert await tab.value("document.querySelector('.drop b') === null")  # a name is no markup
        await tab.type(question.text)
        await tab.until("!document.getElementById('answer').hidden")
        looks = [look for look in episode.looks if look.box_original]
        await tab.until(f"document.querySelectorAll('.stage .box').length === {len(looks)}")
        corners = await tab.value(
            "[...document.querySelectorAll('.stage .box')].map(b => [b.style.left, b.style.top])"
        )
        percent = [[100 * look.box_original[side] / 336 for side in (0, 1)] for look in looks]
        found = [[float(side.removesuffix("%")) for side in corner] for corner in corners]
        np.testing.assert_allclose(found, percent, atol=1e-3)
        crops = "[...document.querySelectorAll('.look img')].map(i => i.naturalWidth)"
        expected = [look.crop.shape[1] for look in episode.looks if look.outcome == "ok"]
        await tab.until(f"{crops}.every(width => width)")
        assert await tab.value(crops) == expected
        answer = await tab.value("document.getElementById('answer').textContent")
        assert answer == episode.answer
        assert not tab.complaints, tab.complaints
