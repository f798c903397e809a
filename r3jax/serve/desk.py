"""What stands between requests and the thread that computes: room, order, and what is told."""

import asyncio
import contextlib
import dataclasses
import enum
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from r3jax.orders import Order, OrderError, Tell, Told
from r3jax.records import Group
from r3jax.serve.errors import RequestError

RETRY_S = 2  # after which somebody who found no room may try again


class Line(Protocol):
    """Who answers orders, in a thread of its own: `rollout.online.Line`."""

    def prepare_order(self, order: Order) -> Any:
        """Makes what is put in line."""

    def put(self, ticket: Any, tell: Tell, watched: bool = False) -> Any:
        """Puts it in line; returns its place."""

    def give_up(self, place: Any) -> None:
        """Nobody waits for it any longer."""

    def stop(self, place: Any) -> None:
        """It has written enough."""


class State(enum.StrEnum):
    """What a server is doing."""

    WARMING = "warming"
    READY = "ready"
    STOPPING = "stopping"


@dataclasses.dataclass
class Desk:
    """Lets at most so many requests in at a time, those who wait included; `compiles` counts what
    is compiled since the server is ready."""

    line: Line
    room: int
    compiles: Callable[[], int]
    state: State = State.WARMING
    inside: int = 0

    def health(self) -> dict[str, Any]:
        """What somebody who watches the server wants to know: after the warm-up nothing is
        compiled any more."""
        return {"status": self.state, "requests": self.inside, "compiles": self.compiles()}

    def check_open(self) -> None:
        """Raises RequestError (503) while the server warms up or stops."""
        if self.state is not State.READY:
            raise RequestError(
                503, f"the server is {self.state.value}", code=self.state.value, retry_s=RETRY_S
            )

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Room for a request whose body has come, while it is answered.

        Raises: RequestError (503) while the server warms up or stops, (429) where it is full.
        """
        self.check_open()
        if self.inside >= self.room:
            raise RequestError(
                429,
                f"{self.room} requests are being answered or wait: try again later",
                code="queue_full",
                retry_s=RETRY_S,
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @contextlib.asynccontextmanager
    async def answering(self, ticket: Any, watched: bool) -> AsyncIterator["Answering"]:
        """Puts a ticket in line; whoever leaves this early gives it up.

        Raises: RequestError (503) where the line is closed.
        """
        answering = Answering(self.line)
        try:
            place = self.line.put(ticket, answering.tell, watched)
        except RuntimeError as error:
            raise RequestError(503, "the server is stopping", code="stopping") from error
        answering.place = place
        try:
            yield answering
        finally:
            self.line.give_up(place)


class Answering:
    """What is told of one order, in the order in which it is told; ends with its group."""

    def __init__(self, line: Line):
        self._line, self.place = line, None
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Queue()

    def tell(self, told: Told) -> None:
        """Called from the thread that computes."""
        self._loop.call_soon_threadsafe(self._told.put_nowait, told)

    def stop(self) -> None:
        """It has written enough: the group comes soon."""
        self._line.stop(self.place)

    async def __aiter__(self) -> AsyncIterator[Told]:
        """Yields progress, and at the end the group.

        Raises: RequestError, 500 where the server has failed, 400 where the order was at fault.
        """
        while True:
            told = await self._told.get()
            if isinstance(told, OrderError):
                raise RequestError(400, str(told), "messages") from told
            if isinstance(told, Exception):
                logging.error("an order failed", exc_info=told)
                raise RequestError(500, "the server has failed; its log says how") from told
            yield told
            if isinstance(told, Group):
                return
