"""Chat models behind an OpenAI-compatible endpoint: many asked at a time, again where they fail,
and nothing twice that is kept in a file."""

import dataclasses
import hashlib
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from r3jax.kept import Kept

AGAIN = frozenset({408, 409, 425, 429})  # and all of the server's own failures, from 500 on
Messages = Sequence[Mapping[str, Any]]
"""A conversation as the API takes it: mappings with `role` and `content`."""


class EndpointError(RuntimeError):
    """What an endpoint has not answered, after all tries."""


@dataclasses.dataclass(frozen=True)
class EndpointConfig:
    """An endpoint, by its address up to /v1, and how it is asked.

    The key is in the environment variable `key_variable`, where one is needed. Up to `at_once`
    requests wait at a time, `timeout_s` each; one that fails is sent again, up to `tries` times in
    all, after `backoff_s`, twice that, and so on. Answers are kept in the file `kept`, if it is
    named.

    Raises: ValueError for an address that is none, and a number that is too small.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
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


class Endpoint:
    """Asks an endpoint. `sleep` waits between tries."""

    def __init__(self, config: EndpointConfig, sleep: Callable[[float], None] = time.sleep):
        self.config, self._sleep = config, sleep
        self._kept = Kept(config.kept) if config.kept else None

    def ask_all(self, many: Sequence[Messages]) -> list[str | EndpointError]:
        """The replies to conversations, in order; an error where there is none. Equal ones are
        asked once."""
        bodies = [self._body(messages) for messages in many]
        distinct = list(dict.fromkeys(bodies))
        with ThreadPoolExecutor(min(self.config.at_once, max(1, len(distinct)))) as pool:
            replies = dict(zip(distinct, pool.map(self._reply, distinct)))
        return [replies[body] for body in bodies]

    def ask(self, messages: Messages) -> str:
        """The reply to a conversation. Raises: EndpointError where there is none."""
        reply = self._reply(self._body(messages))
        if isinstance(reply, EndpointError):
            raise reply
        return reply

    def _body(self, messages: Messages) -> str:
        asked = {
            "model": self.config.model,
            "messages": list(messages),
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
        }
        return json.dumps(asked, sort_keys=True)

    def _reply(self, body: str) -> str | EndpointError:
        key = hashlib.sha256(body.encode()).hexdigest()
        if self._kept is not None and (known := self._kept.get(key)) is not None:
            return known
        failure = ""
        for number in range(self.config.tries):
            try:
                reply = self._send(body)
            except _Failed as error:
                failure = str(error)
                if error.is_final or number + 1 == self.config.tries:
                    break
                spread = self.config.backoff_s * 2**number * (1 + random.random())
                self._sleep(max(error.after_s, spread))
            else:
                if self._kept is not None:
                    self._kept.put(key, reply)
                return reply
        return EndpointError(f"{self.config.url}: {failure}")

    def _send(self, body: str) -> str:
        """One try. Raises: _Failed."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.config.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        address = f"{self.config.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.config.timeout_s) as response:
                found = json.load(response)
            reply = found["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            with error:
                told = error.read(500).decode(errors="replace").strip()
            again = error.code in AGAIN or error.code >= 500
            raise _Failed(
                f"{error.code} {told}", not again, _seconds(error.headers.get("Retry-After"))
            ) from error
        except (OSError, http.client.HTTPException) as error:  # timeouts among them
            raise _Failed(f"{type(error).__name__}: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _Failed(f"no chat completion came back ({error!r})") from error
        if not isinstance(reply, str):
            raise _Failed(f"expected text as the message's content, found {reply!r}")
        return reply


class _Failed(Exception):
    """A try that failed: for good, or to be made again after so many seconds at least."""

    def __init__(self, told: str, is_final: bool = False, after_s: float = 0.0):
        super().__init__(told)
        self.is_final, self.after_s = is_final, after_s


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, min(float(retry_after or 0), 60.0))
    except ValueError:
        return 0.0  # a date: the usual time is waited
