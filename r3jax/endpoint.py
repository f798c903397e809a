"""Chat models behind an OpenAI-compatible endpoint: many asked at a time, again where they fail,
and nothing twice that is kept in a file."""

import dataclasses
import hashlib
import http.client
import json
import os
import random
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from r3jax import paths
from r3jax.kept import Kept

AGAIN = frozenset({408, 409, 425, 429})  # and all of the server's own failures, from 500 on
LONGEST_WAIT_S = 60.0  # between two tries
HOPELESS = 20  # failures one after the other, after which the rest of a call is not sent
Messages = Sequence[Mapping[str, Any]]
"""A conversation as the API takes it: mappings with `role` and `content`."""


class EndpointError(RuntimeError):
    """What an endpoint has not answered, after all tries; `status` is what it said, if anything."""

    def __init__(self, told: str, status: int = 0):
        super().__init__(told)
        self.status = status


@dataclasses.dataclass(frozen=True)
class EndpointConfig:
    """An endpoint, by its address up to /v1, and how it is asked.

    The key is in the environment variable `key_variable`, where one is needed. Up to `at_once`
    requests wait at a time, `timeout_s` each; one that fails is sent again, up to `tries` times in
    all, after `backoff_s`, twice that, and so on. Answers are kept in the file `kept`, if it is
    named: on a disk of this machine.

    Raises: ValueError for an address or a file that is none, and a number that is too small.
    """

    url: str
    model: str
    key_variable: str = ""
    temperature: float = 0.0
    max_tokens: int = 512
    at_once: int = 64
    timeout_s: float = 60.0
    tries: int = 4
    backoff_s: float = 0.5
    kept: str = ""

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"endpoint.url: expected http(s)://HOST/v1, found {self.url!r}")
        for name in ("at_once", "tries", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"endpoint.{name} must be at least 1, found {getattr(self, name)}")
        if self.timeout_s <= 0 or self.backoff_s < 0:
            raise ValueError(
                f"endpoint: timeout_s must be above 0 and backoff_s not below, found "
                f"{self.timeout_s} and {self.backoff_s}"
            )
        if paths.in_bucket(self.kept):
            raise ValueError(f"endpoint.kept: expected a file on a disk, found {self.kept!r}")


class Asked(NamedTuple):
    """What came of a call: a reply each, or why there is none; and how many requests were `sent`
    for it (equal ones once, kept ones not at all), of which so many `failed`."""

    replies: list[str | EndpointError]
    sent: int
    failed: int


class Endpoint:
    """Asks an endpoint. A reply that is not one that `accepts` takes is a failure. `stops` is asked
    about every second, and says whether to give up what is left.

    Raises: ValueError for a key that no header may have.
    """

    def __init__(
        self,
        config: EndpointConfig,
        accepts: Callable[[str], bool] = lambda reply: True,
        stops: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.config, self._accepts, self._stops, self._sleep = config, accepts, stops, sleep
        self._key = _key(config.key_variable)
        self._kept = Kept(config.kept) if config.kept else None
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask_all(self, many: Sequence[Messages]) -> Asked:
        """Sends conversations; returns what comes back, in order."""
        bodies = [self._body(messages) for messages in many]
        known = {body: self._known(body) for body in dict.fromkeys(bodies)}
        sent = [body for body, reply in known.items() if reply is None]
        call = _Call()
        with ThreadPoolExecutor(min(self.config.at_once, max(1, len(sent)))) as pool:
            futures = {pool.submit(self._reply, body, call): body for body in sent}
            self._await(set(futures), call)
        known |= {body: future.result() for future, body in futures.items()}
        failed = sum(isinstance(known[body], EndpointError) for body in sent)
        return Asked([known[body] for body in bodies], len(sent), failed)

    def _await(self, pending: set[Future], call: "_Call") -> None:
        while pending:
            _, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            if not call.given_up and self._stops():
                call.given_up = "given up, as it was asked to stop"

    def _body(self, messages: Messages) -> str:
        asked = {
            "model": self.config.model,
            "messages": list(messages),
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
        }
        return json.dumps(asked, sort_keys=True)

    def _reply(self, body: str, call: "_Call") -> str | EndpointError:
        """The reply to a request, after as many tries as it takes or may take."""
        failure = _Failed(call.given_up)
        for number in range(self.config.tries):
            if call.given_up:
                break
            try:
                reply = self._send(body)
            except _Failed as error:
                failure = error
                if error.is_final or number + 1 == self.config.tries:
                    break
                spread = self.config.backoff_s * 2**number * (1 + random.random())
                self._sleep(min(max(error.after_s, spread), LONGEST_WAIT_S))
            else:
                call.ended(failed=False)
                self._keep(body, reply)
                return reply
        call.ended(failed=True)
        return EndpointError(f"{self.config.url}: {failure}", failure.status)

    def _known(self, body: str) -> str | None:
        if self._kept is None:
            return None
        try:
            return self._kept.get(_name(body))
        except sqlite3.Error as error:
            self._do_without(error)
        return None

    def _keep(self, body: str, reply: str) -> None:
        if self._kept is not None:
            try:
                self._kept.put(_name(body), reply)
            except (sqlite3.Error, UnicodeError) as error:
                self._do_without(error)

    def _do_without(self, error: Exception) -> None:
        print(f"{self.config.kept}: {error}: what is said is not kept any more", flush=True)
        self._kept = None

    def _send(self, body: str) -> str:
        """One try. Raises: _Failed."""
        address = f"{self.config.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, body.encode())
        request.add_header("Content-Type", "application/json")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        text = self._fetch(request)
        try:
            reply = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _Failed(f"no chat completion came back: {text[:200]!r}") from error
        if not isinstance(reply, str) or not self._accepts(reply):
            raise _Failed(f"a message came back that is no answer: {reply!r:.200}")
        return reply

    def _fetch(self, request: urllib.request.Request) -> bytes:
        """What an address answers, all of it within the time for a request."""
        until = time.monotonic() + self.config.timeout_s
        try:
            with self._opener.open(request, timeout=self.config.timeout_s) as response:
                parts = []
                while part := response.read1(1 << 16):
                    parts.append(part)
                    if time.monotonic() > until:
                        raise _Failed(f"timed out: no end after {self.config.timeout_s:g} s")
                if response.length:
                    raise _Failed(f"the reply broke off, {response.length} bytes before its end")
                return b"".join(parts)
        except urllib.error.HTTPError as error:
            again = error.code in AGAIN or error.code >= 500
            after = _seconds(error.headers.get("Retry-After"))
            raise _Failed(f"{error.code} {_told(error)}", not again, after, error.code) from error
        except (OSError, http.client.HTTPException) as error:  # timeouts among them
            raise _Failed(f"{type(error).__name__}: {error}") from error


class _Call:
    """What the threads of a call tell each other: why the rest is not sent, once it is not."""

    def __init__(self):
        self.given_up, self._in_a_row, self._lock = "", 0, threading.Lock()

    def ended(self, failed: bool) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if failed else 0
            if self._in_a_row >= HOPELESS and not self.given_up:
                self.given_up = f"not sent: {HOPELESS} requests before it failed"


class _Failed(Exception):
    """A try that failed: for good, or to be made again after so many seconds at least."""

    def __init__(self, told: str, is_final: bool = False, after_s: float = 0.0, status: int = 0):
        super().__init__(told)
        self.is_final, self.after_s, self.status = is_final, after_s, status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs) -> None:
        """A conversation is for the address that was named."""


def _key(variable: str) -> str:
    """The key in an environment variable; errors never show it."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the key in {variable} has characters that no header may have")
    return key


def _name(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


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
