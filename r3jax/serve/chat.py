"""A conversation's way through the server: body, images, prompt, episode, reply.

Nothing here computes: bodies, images and prompts are read on threads of a pool, episodes are made
by the thread behind the desk.
"""

import asyncio
import contextlib
import dataclasses
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp import web

from r3jax.data.chat import ChatFormat
from r3jax.data.tokenizer import Tokenizer
from r3jax.orders import Order, Progress
from r3jax.records import Group
from r3jax.serve import pictures, protocol, questions, remote, replies
from r3jax.serve.bodies import Bodies, Limits
from r3jax.serve.desk import Answering, Desk
from r3jax.serve.errors import RequestError
from r3jax.serve.protocol import ChatRequest, Rules

Send = Callable[[dict[str, Any]], Awaitable[None]]

FETCH_S = 20.0  # for one image of the web
READERS = 2  # threads that read bodies and images


class Chat:
    """Answers `/v1/chat/completions`."""

    def __init__(
        self,
        desk: Desk,
        tokenizer: Tokenizer,
        form: ChatFormat,
        rules: Rules,
        limits: Limits,
        sources: pictures.Sources,
    ):
        self.desk, self.rules, self.limits, self.sources = desk, rules, limits, sources
        self._bodies = Bodies(limits)
        self._form, self._bytes = form, tokenizer.token_bytes()
        self._pool = ThreadPoolExecutor(READERS, "read")
        self._client: aiohttp.ClientSession | None = None

    async def running(self, app: web.Application):
        """Around the life of the application."""
        if self.sources.remote:
            self._client = remote.session()
        yield
        if self._client is not None:
            await self._client.close()
        self._pool.shutdown(wait=False)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers a request.

        Raises: RequestError that says why not.
        """
        self.desk.check_open()
        deadline = asyncio.get_running_loop().time() + self.limits.answer_s
        async with self._until(deadline):
            asked = await self._read(protocol.read, await self._bodies.read(request), self.rules)
        with self.desk.enter():
            head = _heading(asked)
            async with self._until(deadline):
                ticket = await self._ticket(head, asked)
            asked = dataclasses.replace(asked, urls=())  # they may be large
            watched = asked.stream or bool(asked.stops)
            async with self.desk.answering(ticket, watched) as answering:
                if asked.stream:
                    return await self._stream(request, head, asked, answering, deadline)
                async with self._until(deadline):
                    return await self._whole(head, asked, answering)

    @contextlib.asynccontextmanager
    async def _until(self, deadline: float):
        """What takes longer is refused (504)."""
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except TimeoutError as error:
            raise RequestError(
                504, f"no answer within {self.limits.answer_s:g} seconds", code="timeout"
            ) from error

    async def _whole(
        self, head: replies.Heading, asked: ChatRequest, answering: Answering
    ) -> web.Response:
        gate = replies.Gate(asked.stops)
        async for told in answering:
            if isinstance(told, Progress):
                gate.through(told.text)
                if gate.closed:
                    answering.stop()
        episode = replies.cut_at_stops(told.episodes[0], asked.stops, self._bytes)
        return web.json_response(await self._read(replies.whole, head, asked, told, episode))

    async def _read(self, function: Callable, *given) -> Any:
        """Calls a function that takes a while on a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def _ticket(self, head: replies.Heading, asked: ChatRequest) -> Any:
        fetched = await self._fetch(asked)

        def prepare() -> Any:
            """All of it on one thread: images are decoded, resized, and the prompt is made."""
            shown = pictures.open_all(asked.urls, asked.places, self.sources, fetched)
            order = Order(
                questions.question(head.id, asked.turns, shown, self._form),
                asked.temperature,
                asked.top_p,
                asked.max_tokens,
                random.getrandbits(31) if asked.seed is None else asked.seed,
            )
            try:
                return self.desk.line.prepare_order(order)
            except ValueError as error:
                raise RequestError(400, str(error), "messages", "cannot_be_shown") from error

        return await self._read(prepare)

    async def _fetch(self, asked: ChatRequest) -> dict[str, bytes]:
        """The images of the web, or the reason why not."""
        wanted = [(u, p) for u, p in zip(asked.urls, asked.places) if pictures.is_remote(u)]
        if wanted and self._client is None:
            place = wanted[0][1]
            raise RequestError(
                400,
                f"{place}: images of the web are not fetched: send the image as a data URL "
                "(data:image/png;base64,...), or start the server with --remote",
                place,
                "remote_refused",
            )
        limit, places = self.limits.body_bytes, dict(wanted)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    url: group.create_task(remote.fetch(self._client, url, place, limit, FETCH_S))
                    for url, place in places.items()
                }
        except ExceptionGroup as errors:  # the first ends the others
            raise errors.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def _stream(
        self,
        request: web.Request,
        head: replies.Heading,
        asked: ChatRequest,
        answering: Answering,
        deadline: float,
    ) -> web.StreamResponse:
        """Sends what is told as it is told; an error that comes late is an event, too."""
        response = web.StreamResponse(headers={"Cache-Control": "no-cache"})
        response.content_type = "text/event-stream"

        async def send(value: dict[str, Any]) -> None:
            await response.write(replies.event(value))

        with contextlib.suppress(ConnectionError):  # who has gone away is not answered
            await response.prepare(request)
            try:
                async with self._until(deadline):
                    await self._send_all(send, head, asked, answering)
                await response.write(replies.DONE)
            except RequestError as error:
                await send(error.as_json())
            await response.write_eof()
        return response

    async def _send_all(
        self, send: Send, head: replies.Heading, asked: ChatRequest, answering: Answering
    ) -> None:
        await send(replies.chunk(head, {"role": "assistant", "content": ""}))
        gate, sent = replies.Gate(asked.stops), 0
        async for told in answering:
            if isinstance(told, Group):
                break
            if asked.trace and not gate.closed:
                for one in told.looks:
                    shown = await self._read(replies.look, one)
                    await send(replies.chunk(head, {}, look=shown))
            text = gate.through(told.text)
            if text and not asked.answer_only:
                sent += len(text)
                await send(replies.chunk(head, {"content": text}))
            if gate.closed:
                answering.stop()
        episode = replies.cut_at_stops(told.episodes[0], asked.stops, self._bytes)
        if rest := replies.content(asked, episode)[sent:]:
            await send(replies.chunk(head, {"content": rest}))
        await send(replies.chunk(head, {}, replies.finish_reason(episode)))
        if asked.include_usage:
            await send(replies.last_chunk(head, told, episode))


def _heading(asked: ChatRequest) -> replies.Heading:
    return replies.Heading(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), asked.model)
