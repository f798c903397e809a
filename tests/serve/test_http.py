"""Over HTTP: refusals are JSON objects, bodies are bounded, a fault of ours is logged and says no
more."""

import asyncio
import json
import logging
import types

import aiohttp
import pytest
from aiohttp import test_utils, web

from r3jax.serve import bodies, http, protocol
from r3jax.serve.errors import RequestError

LIMITS = bodies.Limits(body_bytes=1000, body_s=0.2)
RULES = protocol.Rules("vlm", 2, 100)
JSON = {"Content-Type": "application/json"}


class Fake:
    """Conversations that echo their body's size, or fail as a body says."""

    def __init__(self):
        self.rules, self.limits, self._bodies = RULES, LIMITS, bodies.Bodies(LIMITS)
        self.desk = types.SimpleNamespace()

    async def running(self, app):
        yield

    async def answer(self, request: web.Request) -> web.Response:
        body = await self._bodies.read(request)
        if body == b"fail":
            raise RuntimeError("secret words of ours")
        return web.json_response({"size": len(body)})


def asked(talk, key=None):
    """What `talk`, given a client of a server, returns."""

    async def run():
        app = http.Server(Fake(), key).app()
        async with test_utils.TestClient(test_utils.TestServer(app)) as client:
            return await talk(client)

    return asyncio.run(run())


def post(data, key=None, **headers):
    async def talk(client):
        given = {"data": data, "headers": {**JSON, **headers}}
        async with client.post("/v1/chat/completions", **given) as response:
            return response.status, await response.json(), response.headers

    return asked(talk, key)


def test_a_fault_of_ours_is_logged_with_its_words_and_answered_without(caplog):
    with caplog.at_level(logging.ERROR):
        status, body, _ = post(b"fail")
    assert status == 500 and "secret" not in json.dumps(body)
    assert body["error"]["type"] == "server_error"
    assert "a request to /v1/chat/completions failed" in caplog.text
    assert "secret words of ours" in caplog.text


@pytest.mark.parametrize(
    "authorization, status",
    [("Bearer key", 200), ("bearer key", 200), ("Bearer kez", 401), ("key", 401), ("", 401)],
)
def test_a_key_is_asked_for_by_the_name_of_its_scheme(authorization, status):
    found, body, headers = post(b"{}", "key", Authorization=authorization)
    assert found == status
    if status == 401:
        assert headers["WWW-Authenticate"] == "Bearer"
        assert body["error"]["code"] == "invalid_api_key"


def slowly():
    async def parts():
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    return parts()


def chunks(size):
    async def parts():
        for _ in range(size // 100):
            yield b"x" * 100

    return parts()


@pytest.mark.parametrize(
    "data, headers, status",
    [
        (b"x" * 1001, {}, 413),
        (lambda: chunks(2000), {}, 413),  # whose length nobody says
        (lambda: slowly(), {}, 408),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b"{}", {}, 200),
    ],
)
def test_bodies_are_bounded_in_size_time_and_kind(data, headers, status):
    found, body, _ = post(data() if callable(data) else data, **headers)
    assert found == status and (status == 200) == ("size" in body)


def test_more_than_may_arrive_together_is_refused_and_forgotten():
    reader = bodies.Bodies(bodies.Limits(body_bytes=1000))

    async def read(size, until):
        async def parts():
            yield b"x" * size
            await until.wait()

        content = types.SimpleNamespace(iter_any=parts)
        request = types.SimpleNamespace(
            content_type="application/json", headers={}, content_length=None, content=content
        )
        return await reader.read(request)

    async def run():
        until = asyncio.Event()
        waiting = [asyncio.create_task(read(1000, until)) for _ in range(bodies.ARRIVING)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as told:
            await read(1, until)
        assert (told.value.status, told.value.retry_s) == (429, 2)
        until.set()
        assert [len(body) for body in await asyncio.gather(*waiting)] == [1000] * bodies.ARRIVING
        assert len(await read(1000, until)) == 1000

    asyncio.run(run())


@pytest.mark.parametrize("path, status", [("/nothing", 404), ("/v1/chat/completions", 405)])
def test_what_is_not_there_is_told_as_json(path, status):
    async def talk(client: aiohttp.ClientSession):
        async with client.get(path) as response:
            return response.status, await response.json()

    found, body = asked(talk)
    assert found == status and body["error"]["message"]
