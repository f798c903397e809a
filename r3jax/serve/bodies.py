"""The bodies of requests, as they come: how large, how slowly, and how much at a time."""

import asyncio
import dataclasses

from aiohttp import web

from r3jax.serve.desk import RETRY_S
from r3jax.serve.errors import RequestError

ARRIVING = 8  # whole bodies, of which so many bytes may be on their way in


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is refused: larger bodies (413), bodies that come slower (408), answers that take
    longer (504)."""

    body_bytes: int = 2**25
    body_s: float = 60.0
    answer_s: float = 600.0


class Bodies:
    """Reads bodies within limits: who sends slowly takes no more room than what has been sent."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._arriving = 0  # bytes of bodies that have not come to their end

    async def read(self, request: web.Request) -> bytes:
        """The body of a request.

        Raises: RequestError that says why it is not read.
        """
        if request.content_type != "application/json":
            raise RequestError(
                415, f"expected a body of application/json, found {request.content_type[:40]}"
            )
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError(415, "expected a body without Content-Encoding")
        if (request.content_length or 0) > self._limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_s):
                return await self._arrived(request)
        except TimeoutError as error:
            raise RequestError(
                408, f"the body did not come within {self._limits.body_s:g} seconds"
            ) from error

    async def _arrived(self, request: web.Request) -> bytes:
        most, body = ARRIVING * self._limits.body_bytes, bytearray()
        try:
            async for part in request.content.iter_any():
                body += part
                self._arriving += len(part)
                if len(body) > self._limits.body_bytes:
                    raise self._too_large()
                if self._arriving > most:
                    raise RequestError(
                        429, "too much is being sent: try again", code="busy", retry_s=RETRY_S
                    )
            return bytes(body)
        finally:
            self._arriving -= len(body)

    def _too_large(self) -> RequestError:
        return RequestError(
            413,
            f"a body has at most {self._limits.body_bytes} bytes: send smaller images",
            code="too_large",
        )
