"""One request to an OpenAI-compatible endpoint, and what comes back, or why it failed."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

AGAIN = frozenset({408, 409, 425, 429})  # and all of the server's own failures, from 500 on
NOT_THIS = frozenset({400, 413, 422})  # say that this request is none, whatever others are


class Answer(NamedTuple):
    """What an endpoint said, and the tokens of question and reply where it told them."""

    text: str
    tokens: tuple[int, int] | None = None


class Failed(Exception):
    """A try that failed: for good, or to be made again after so many seconds at least. `refused` is
    what came back, where the endpoint did its part."""

    def __init__(
        self,
        told: str,
        is_final: bool = False,
        after_s: float = 0.0,
        status: int = 0,
        refused: str | None = None,
    ):
        super().__init__(told)
        self.is_final, self.after_s, self.status = is_final, after_s, status
        self.refused = refused


class Client:
    """Sends requests to the address `url`, with the key in an environment variable if one is named.

    Raises: ValueError for a key that no header may have.
    """

    def __init__(self, url: str, key_variable: str, timeout_s: float):
        self._address = f"{url.rstrip('/')}/chat/completions"
        self._key, self._timeout_s = _key(key_variable), timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def complete(self, body: str) -> Answer:
        """The message that answers a request. Raises: Failed."""
        request = urllib.request.Request(self._address, body.encode())
        request.add_header("Content-Type", "application/json")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        text = self._fetch(request)
        try:
            completion = json.loads(text)
            message = completion["choices"][0]["message"]
            reply = message["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Failed(f"no chat completion came back: {text[:200]!r}") from error
        if reply is None:  # a model that will not answer may say why in another place
            told = message.get("refusal") or ""
            raise Failed(f"a message came back without an answer: {told!r:.200}", refused=str(told))
        if not isinstance(reply, str):
            raise Failed(f"a message came back that is no answer: {reply!r:.200}")
        return Answer(reply, _tokens(completion))

    def _fetch(self, request: urllib.request.Request) -> bytes:
        """What an address answers, all of it within the time for a request."""
        until = time.monotonic() + self._timeout_s
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                parts = []
                while part := response.read1(1 << 16):
                    parts.append(part)
                    if time.monotonic() > until:
                        raise Failed(f"timed out: no end after {self._timeout_s:g} s")
                if response.length:
                    raise Failed(f"the reply broke off, {response.length} bytes before its end")
                return b"".join(parts)
        except urllib.error.HTTPError as error:
            again = error.code in AGAIN or error.code >= 500
            after = _seconds(error.headers.get("Retry-After"))
            told = f"{error.code} {_told(error)}"
            refused = told if error.code in NOT_THIS else None
            raise Failed(told, not again, after, error.code, refused) from error
        except (OSError, http.client.HTTPException) as error:  # timeouts among them
            raise Failed(f"{type(error).__name__}: {error}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs) -> None:
        """A conversation is for the address that was named."""


def _key(variable: str) -> str:
    """The key in an environment variable; errors never show it."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the key in {variable} has characters that no header may have")
    return key


def _tokens(completion: Mapping) -> tuple[int, int] | None:
    """Those of question and reply that a completion tells of."""
    usage = completion.get("usage")
    told = usage if isinstance(usage, Mapping) else {}
    found = [told.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return tuple(found) if all(type(count) is int for count in found) else None


def _told(error: urllib.error.HTTPError) -> str:
    """What an error says, as far as it comes."""
    try:
        return error.read(500).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        error.close()


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0  # a date: the usual time is waited
