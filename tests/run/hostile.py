"""What hostile clients send a server, and what it has to answer.

    python -m tests.run.hostile http://127.0.0.1:8000 PID 10000

sends so many requests to a server that takes bodies and images of up to a million bytes and pixels
(`test_serve.FLAGS`), and prints how many of each kind it answered, and its memory on the way.
"""

import asyncio
import base64
import collections
import copy
import functools
import io
import json
import pathlib
import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
from PIL import Image

from tests import tiny
from tests.run import served
from tests.serve.test_pictures import bomb, data_url

AT_ONCE = 8
Sent = tuple[dict[str, Any], tuple[int, ...]]
"""Arguments of a request, and the statuses that may answer it."""


@functools.cache
def _url(kind: str = "PNG") -> str:
    return served.data_url(tiny.image(0)[:168, :168], kind)


@functools.cache
def _even(width: int, height: int, kind: str) -> str:
    """A few bytes that really are so many pixels."""
    data = io.BytesIO()
    Image.new("L", (width, height)).save(data, kind)
    return data_url(data.getvalue())


def _body(url: str | None = None, **changes: Any) -> dict[str, Any]:
    """A good request, or one with another image."""
    shown = {"type": "image_url", "image_url": {"url": url or _url()}}
    words = {"type": "text", "text": tiny.question(0).text}
    messages = [{"role": "user", "content": [shown, words]}]
    return {"model": "looking", "messages": messages, "max_tokens": 2, **changes}


def _good(rng: random.Random) -> Sent:
    return {"json": _body(seed=rng.getrandbits(64), temperature=rng.random())}, (200,)


def _truncated(rng: random.Random) -> Sent:
    return {"json": _body(_url()[: rng.randrange(22, len(_url()) - 8)])}, (400,)


def _damaged(rng: random.Random) -> Sent:
    kind = rng.choice(["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
    data = bytearray(base64.b64decode(_url(kind).partition(",")[2]))
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return {"json": _body(data_url(bytes(data)))}, (200, 400, 413)


def _noise(rng: random.Random) -> Sent:
    start = rng.choice(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0"]
    )
    return {"json": _body(data_url(start + rng.randbytes(rng.randrange(9999))))}, (400,)


def _bomb(rng: random.Random) -> Sent:
    side = rng.choice([2000, 10**5, 2**31 - 1])
    return {"json": _body(data_url(bomb(side, side)))}, (400,)


def _packed(rng: random.Random) -> Sent:
    """A few kilobytes that really are nine million pixels."""
    return {"json": _body(_even(3000, 3000, rng.choice(["PNG", "GIF", "WEBP"])))}, (400,)


def _strip(rng: random.Random) -> Sent:
    size = rng.choice([(10**5, 1), (1, 10**5), (10**5, 3)])
    return {"json": _body(_even(*size, "PNG"))}, (400,)


ODD = (None, True, -1, 10**30, 1e308, float("nan"), "", "\0", "\ud800", "a" * 999, [], {}, [[]],
       {"type": "text"}, {"url": "data:"}, [{}], "user", "looking")  # fmt: skip


def _wrong_types(rng: random.Random) -> Sent:
    body = copy.deepcopy(_body(stop=["x"], stream_options={}, top_p=0.9, n=1))
    for _ in range(rng.randrange(1, 4)):
        at = body
        while True:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            if not keys:
                break
            key = rng.choice(list(keys))
            if isinstance(at[key], dict | list) and rng.random() < 0.8:
                at = at[key]
                continue
            at[key] = copy.deepcopy(rng.choice(ODD))
            break
    body["max_tokens"] = 2 if body.get("max_tokens") == 10**30 else body.get("max_tokens")
    return {"json": body}, (200, 400, 404)


def _deep(rng: random.Random) -> Sent:
    depth = rng.choice([100, 10**4, 4 * 10**5])
    inner = rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * (depth // 5)])
    return _raw(b'{"model": "looking", "messages": ' + inner + b"}"), (400,)


def _no_json(rng: random.Random) -> Sent:
    return _raw(rng.randbytes(rng.randrange(2000))), (400,)


def _paths(rng: random.Random) -> Sent:
    urls = ("../" * 9 + "etc/passwd", "file:///etc/passwd", "file:///proc/self/environ",
            "/dev/zero",
            "zip:///a.zip!../../x", "C:\\x", "http://169.254.169.254/", "http://[::1]/", "gs://a/b",
            "HTTPS://user@localhost:1/", "//host/x", "data:text/html;base64,AA==", "\0", "x" * 9**5,
            "http://" + "a" * 999, "file://%00", "http://[", "file://[")  # fmt: skip
    return {"json": _body(rng.choice(urls))}, (400,)


def _giant(rng: random.Random) -> Sent:
    size = rng.randrange(1_000_001, 3_000_000)
    if rng.random() < 0.5:
        return _raw(b" " * size), (413,)

    async def parts():
        for _ in range(size // 2**16 + 1):
            yield b" " * 2**16

    return _raw(parts()), (413,)


def _other_kinds(rng: random.Random) -> Sent:
    kind = rng.choice(["text/plain", "multipart/form-data; boundary=x", "application/xml", ""])
    if rng.random() < 0.5:
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": rng.choice(["gzip", "br"]),
        }
        return {"data": b"{}", "headers": headers}, (415,)
    return {"data": b"{}", "headers": {"Content-Type": kind}}, (415,)


def _many(rng: random.Random) -> Sent:
    words = rng.choice(["a" * 3 * 10**5, "\u202e" * 3000, "<|image_pad|>" * 400])
    return {"json": _body() | {"messages": [{"role": "user", "content": words}] * 3}}, (400,)


def _other_places(rng: random.Random) -> Sent:
    method, path, status = rng.choice(
        [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("DELETE", "/", 405),
         ("GET", "/%2e%2e/x", 404), ("GET", "/v1/models/..%2f..%2fx", 404),
         ("POST", "/v1/completions", 404)]
    )  # fmt: skip
    return {"method": method, "path": path}, (status,)


def _gone(rng: random.Random) -> Sent:
    """Asks for a stream and hangs up."""
    body = _body(stream=True, temperature=2, seed=rng.getrandbits(31), max_tokens=99)
    return {"json": body, "hang_up": True}, (200,)


def _raw(data: Any) -> dict[str, Any]:
    return {"data": data, "headers": {"Content-Type": "application/json"}}


KINDS: dict[str, Callable[[random.Random], Sent]] = {
    made.__name__[1:]: made
    for made in (_good, _truncated, _damaged, _noise, _bomb, _packed, _strip, _wrong_types, _deep,
                 _no_json, _paths, _giant, _other_kinds, _many, _other_places, _gone)
}  # fmt: skip


async def attack(address: str, numbers: Iterable[int]) -> collections.Counter:
    """Sends these requests, some at once; returns how many of each kind were answered rightly.

    Raises: AssertionError for the first that was not.
    """
    counts, left = collections.Counter(), iter(numbers)
    timeout = aiohttp.ClientTimeout(total=60)

    async def work(client: aiohttp.ClientSession) -> None:
        for number in left:
            kind = list(KINDS)[number % len(KINDS)]
            sent, statuses = KINDS[kind](random.Random(number))
            await _send(client, address, sent, statuses, f"{kind} {number}")
            counts[kind] += 1

    async with aiohttp.ClientSession(timeout=timeout) as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    return counts


async def _send(client, address: str, sent: dict[str, Any], statuses, name: str) -> None:
    given = dict(sent)
    method, path = given.pop("method", "POST"), given.pop("path", "/v1/chat/completions")
    hangs_up = given.pop("hang_up", False)
    if "json" in given:
        given |= _raw(json.dumps(given.pop("json")).encode())
    try:
        async with client.request(method, address + path, **given) as response:
            assert response.status in statuses, (name, response.status, await response.text())
            if hangs_up:
                await response.content.readany()
                response.close()
            elif response.status != 200:
                assert (await response.json())["error"]["message"], name
            else:
                await response.read()
    except aiohttp.ClientOSError:  # the server need not read all of what is too large
        assert statuses == (413,), name


def main(address: str, pid: str, count: str) -> None:
    began, total = time.monotonic(), collections.Counter()
    for first in range(0, int(count), 1000):
        total += asyncio.run(attack(address, range(first, min(first + 1000, int(count)))))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"{sum(total.values())} in {time.monotonic() - began:.0f} s, {memory}", flush=True)
    print(dict(total))


if __name__ == "__main__":
    main(*sys.argv[1:])
