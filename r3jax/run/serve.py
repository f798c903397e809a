"""Serving a model: the thread that computes, the loop that speaks HTTP, their start and end."""

import asyncio
import dataclasses
import functools
import os
import pathlib
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from r3jax.compiles import CompileCounter
from r3jax.rollout import crops, engine, online, weights
from r3jax.run import pretrained, shapes, warm
from r3jax.run.session import Stopped
from r3jax.serve import bodies, chat, http, pictures, protocol
from r3jax.serve.desk import Desk, State


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """How a model is served: `rows` requests at once, and up to `queue` that wait.

    `name` is that of the model (None: its directory's). The environment variable `key_variable`
    holds the key that requests must bear. A request has at most so many images, pixels of them
    together, tokens of text and bytes; an episode `max_text_tokens` beside its looks. A server that
    is told to stop has `grace_s` to finish what it has begun.
    """

    model: str
    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    dtype: str = "float32"
    rows: int = 16
    queue: int = 64
    temperature: float = 0.0
    answer_only: bool = False
    instruction: bool = True
    max_text_tokens: int = 1024
    max_question_tokens: int = shapes.QUESTION_TOKENS
    max_images: int = 4
    max_pixels: int = 2**24
    max_body_bytes: int = 2**25
    timeout_s: float = 600.0
    grace_s: float = 30.0
    files: str | None = None
    remote: bool = False
    key_variable: str | None = None

    def __post_init__(self):
        for name in ("rows", "max_images", "max_text_tokens", "max_question_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("timeout_s", "max_pixels", "max_body_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        if self.queue < 0 or self.grace_s < 0:
            raise ValueError(
                f"queue and grace_s must be at least 0, found {self.queue} and {self.grace_s}"
            )
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be from 0 to 2, found {self.temperature}")
        if self.key_variable is not None and not os.environ.get(self.key_variable, "").strip():
            raise ValueError(
                f"key_variable: the environment has no variable {self.key_variable}: set it"
            )
        if self.files is not None and not pathlib.Path(self.files).is_dir():
            raise ValueError(f"files: {self.files} is no folder: name one to read images from")


def serve(config: ServeConfig) -> None:
    """Serves until a signal asks to stop; what is being answered then is finished."""
    start = pretrained.load(config.model, on_host=True, dtype=config.dtype)
    line = online.Line(make_engine(config, start))
    asyncio.run(_serve(config, start, line))


def make_engine(config: ServeConfig, start: pretrained.Pretrained) -> engine.Engine:
    """Returns the engine of a server: its shapes follow from the limits alone."""
    form = start.form if config.instruction else dataclasses.replace(start.form, instruction="")
    limits = config.max_text_tokens, config.max_question_tokens, config.max_images
    buckets = shapes.serving_buckets(form, start.tokenizer, config.rows, *limits)
    made = online.make_engine(start.model(), start.tokenizer, form, buckets, config.rows)
    # People send images of any size: no room on a device would be large enough for the next one.
    return dataclasses.replace(made, way=crops.Way.HOST)


def rules(config: ServeConfig) -> protocol.Rules:
    """What requests are held to."""
    return protocol.Rules(
        config.name or pathlib.Path(config.model).resolve().name,
        config.max_images,
        16 * config.max_question_tokens,  # a token is seldom longer
        config.temperature,
        config.answer_only,
    )


async def _serve(config: ServeConfig, start: pretrained.Pretrained, line: online.Line) -> None:
    """The event loop: it never touches JAX, nor does the thread that computes touch it."""
    compiles = CompileCounter()
    desk = Desk(line, config.rows + config.queue, lambda: compiles.count)
    files = pathlib.Path(config.files) if config.files else None
    conversations = chat.Chat(
        desk,
        start.tokenizer,
        line.engine.form,
        rules(config),
        bodies.Limits(config.max_body_bytes, answer_s=config.timeout_s),
        pictures.Sources(files, config.remote, config.max_pixels),
    )
    key = os.environ[config.key_variable].strip() if config.key_variable else None
    server = http.Server(conversations, key)
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    runner = web.AppRunner(
        server.app(),
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        shutdown_timeout=1.0,  # they have had their grace
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"serve: {server.rules.name} at http://{host}:{port}, warming up", flush=True)

        def open_desk(programs: int, seconds: float) -> None:
            desk.state = State.READY
            print(f"serve: ready, {programs} programs in {seconds:.0f} s", flush=True)

        ready = functools.partial(loop.call_soon_threadsafe, open_desk)

        with ThreadPoolExecutor(1, "compute") as pool:
            work = loop.run_in_executor(pool, _compute, line, start, compiles, ready)
            await asyncio.wait(
                [work, asyncio.ensure_future(asked.wait())], return_when=asyncio.FIRST_COMPLETED
            )
            desk.state = State.STOPPING
            await _drain(desk, config.grace_s)
            line.close()
            await runner.cleanup()  # whoever is still waiting is told, and leaves the line
            await work
    finally:
        await runner.cleanup()


def _compute(
    line: online.Line,
    start: pretrained.Pretrained,
    compiles: CompileCounter,
    ready: Callable[[int, float], None],
) -> None:
    """All that the thread of the engine does."""
    eng, began, taken = line.engine, time.monotonic(), []
    policy = weights.sent(start.params, eng.model.dtype)

    def take(name: str, *program):
        if line.ended:
            raise Stopped("stopped by a signal while warming up")
        taken.append(name)
        return warm.compile_for(name, *program)

    warm.rollout_programs(eng, policy, take)
    ready(len(taken), time.monotonic() - began)
    with compiles:
        line.serve(policy)


async def _drain(desk: Desk, grace_s: float) -> None:
    """Waits until nobody is inside, but not for long."""
    end = time.monotonic() + grace_s
    while desk.inside and time.monotonic() < end:
        await asyncio.sleep(0.05)
