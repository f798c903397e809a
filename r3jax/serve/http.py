"""The server: its routes, who may use them, and refusals as objects of JSON."""

import hmac
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from r3jax.serve import page, protocol
from r3jax.serve.chat import Chat
from r3jax.serve.desk import State
from r3jax.serve.errors import RequestError


class Server:
    """What answers requests about one model, whose conversations are `chat`'s."""

    def __init__(self, chat: Chat, key: str | None = None):
        """With a `key`, requests must bear it."""
        self.chat, self.rules, self._key = chat, chat.rules, key
        self._shown = page.load()
        self._created = int(time.time())

    def app(self) -> web.Application:
        """The application to run, with `handler_cancellation`: who goes away is not answered."""
        app = web.Application(middlewares=[self._errors])
        app.router.add_get("/", self._page)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._model)
        app.router.add_post("/v1/chat/completions", self.chat.answer)
        app.cleanup_ctx.append(self.chat.running)
        return app

    @web.middleware
    async def _errors(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        """Every refusal as a JSON object; who may ask is asked here."""
        try:
            if request.path.startswith("/v1/"):
                self._check_key(request)
            return await handler(request)
        except RequestError as error:
            return refusal(error)
        except web.HTTPException as error:
            return refusal(_of_http(error), error.headers.get("Allow"))
        except Exception:  # a bug: the log has all of it, the client that there is one
            logging.exception("a request to %s failed", request.path)
            return refusal(RequestError(500, "the server has failed; its log says how"))

    def _check_key(self, request: web.Request) -> None:
        if self._key is None:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_it = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key.encode())
        if scheme.lower() != "bearer" or not is_it:
            raise RequestError(
                401, "expected the header Authorization: Bearer KEY", code="invalid_api_key"
            )

    async def _page(self, request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._shown.policy, "Cache-Control": "no-cache"}
        return web.Response(text=self._shown.text, content_type="text/html", headers=headers)

    async def _health(self, request: web.Request) -> web.Response:
        desk = self.chat.desk
        status = 200 if desk.state is State.READY else 503
        return web.json_response({"model": self.rules.name, **desk.health()}, status=status)

    async def _models(self, request: web.Request) -> web.Response:
        names = [self.rules.name, self.rules.name + protocol.ANSWER]
        return web.json_response({"object": "list", "data": [self._about(n) for n in names]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        protocol.check_model(name, self.rules)
        return web.json_response(self._about(name))

    def _about(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "r3jax"}


def refusal(error: RequestError, allow: str | None = None) -> web.Response:
    """The response of an error."""
    headers = {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if allow is not None:
        headers["Allow"] = allow
    text = json.dumps(error.as_json())
    return web.Response(
        text=text, status=error.status, content_type="application/json", headers=headers
    )


def _of_http(error: web.HTTPException) -> RequestError:
    return RequestError(error.status, error.reason, code=error.reason.lower().replace(" ", "_"))
