"""Chat models behind an OpenAI-compatible endpoint: many asked at a time, again where they fail,
and nothing twice that is kept in a file."""

import collections
import dataclasses
import hashlib
import json
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

from r3jax import paths
from r3jax.completions import Answer, Client, Failed
from r3jax.kept import Kept

LONGEST_WAIT_S = 60.0  # between two tries
HOPELESS = 20  # failures one after the other, after which the rest of a call is not sent
AHEAD = 2  # talks that are begun before the first of them is done, in `at_once`
Messages = Sequence[Mapping[str, Any]]
"""A conversation as the API takes it: mappings with `role` and `content`."""


class EndpointError(RuntimeError):
    """What an endpoint has not answered; `status` is what it said, if anything. `refused` is what
    came back of an endpoint that did its part: after all tries a message that is none of the
    answers that are accepted, or, with a status, why it does not take this request."""

    def __init__(self, told: str, status: int = 0, refused: str | None = None):
        super().__init__(told)
        self.status, self.refused = status, refused


Result = TypeVar("Result")
Talk = Generator[Messages, Answer | EndpointError, Result]
"""A conversation that goes on by what it is told: it yields what is asked next."""


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
    about every second, and says whether to give up what is left. `answered` counts the requests
    that were sent and answered. Where the file of kept answers fails, asking goes on without it,
    or, if it `must_keep`, ends with a ValueError.

    Raises: ValueError for a key that no header may have.
    """

    def __init__(
        self,
        config: EndpointConfig,
        accepts: Callable[[str], bool] = lambda reply: True,
        stops: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        must_keep: bool = False,
    ):
        self.config, self._accepts, self._stops, self._sleep = config, accepts, stops, sleep
        self._must_keep = must_keep
        self._client = Client(config.url, config.key_variable, config.timeout_s)
        self._kept = Kept(config.kept) if config.kept else None
        self._turns: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._lock, self.answered = threading.Lock(), 0

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
        replies = (known[body] for body in bodies)
        texts = [one.text if isinstance(one, Answer) else one for one in replies]
        return Asked(texts, len(sent), failed)

    def hold_all(self, talks: Iterable[Talk[Result]]) -> Iterator[Result]:
        """Holds conversations, up to `at_once` at a time; yields what they end with, in order.

        Where the endpoint is given up, those that have begun are told so and no others are begun:
        fewer come out than went in.
        """
        call, begun = _Call(), collections.deque()
        with ThreadPoolExecutor(self.config.at_once) as pool:
            try:
                for talk in talks:
                    begun.append(pool.submit(self._hold, talk, call))
                    while begun and (len(begun) >= AHEAD * self.config.at_once or begun[0].done()):
                        yield self._ended(begun.popleft(), call)
                    if call.given_up:
                        break
                while begun:
                    yield self._ended(begun.popleft(), call)
            finally:
                call.given_up = call.given_up or "given up: nobody waits for it any more"

    def _ended(self, talk: Future, call: "_Call") -> Any:
        self._await({talk}, call)
        return talk.result()

    def _hold(self, talk: Talk, call: "_Call") -> Any:
        """What a conversation ends with. Of equal requests at one time one is sent, where answers
        are kept."""
        said = None
        while True:
            try:
                body = self._body(talk.send(said))
            except StopIteration as end:
                return end.value
            with self._turn(body):
                known = self._known(body)
                said = self._reply(body, call) if known is None else known

    def _turn(self, body: str) -> Any:
        with self._lock:
            return self._turns.setdefault(_name(body), threading.Lock())

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

    def _reply(self, body: str, call: "_Call") -> Answer | EndpointError:
        """The reply to a request, after as many tries as it takes or may take."""
        failure = Failed(call.given_up)
        for number in range(self.config.tries):
            if call.given_up:  # what was refused so far might have been answered yet
                failure = Failed(str(failure), status=failure.status)
                break
            try:
                reply = self._complete(body)
            except Failed as error:
                failure = error
                if error.is_final or number + 1 == self.config.tries:
                    break
                spread = self.config.backoff_s * 2**number * (1 + random.random())
                self._sleep(min(max(error.after_s, spread), LONGEST_WAIT_S))
            else:
                call.ended()
                with self._lock:
                    self.answered += 1
                self._keep(body, reply)
                return reply
        # Who says something else than was asked for is there; who takes no request may never be.
        call.ended(failure if failure.refused is None or failure.status > 0 else None)
        return EndpointError(f"{self.config.url}: {failure}", failure.status, failure.refused)

    def _complete(self, body: str) -> Answer:
        """One try. Raises: Failed."""
        answer = self._client.complete(body)
        if not self._accepts(answer.text):
            told = f"a message came back that is no answer: {answer.text!r:.200}"
            raise Failed(told, refused=answer.text)
        return answer

    def _known(self, body: str) -> Answer | None:
        kept = self._kept
        if kept is None:
            return None
        try:
            text, tokens = kept.get(_name(body)), kept.get(f"{_name(body)} tokens")
            return None if text is None else Answer(text, tokens and tuple(json.loads(tokens)))
        except sqlite3.Error as error:
            self._do_without(error)
        return None

    def _keep(self, body: str, reply: Answer) -> None:
        kept = self._kept
        if kept is not None:
            try:
                if reply.tokens is not None:
                    kept.put(f"{_name(body)} tokens", json.dumps(reply.tokens))
                kept.put(_name(body), reply.text)
            except sqlite3.Error as error:
                self._do_without(error)

    def _do_without(self, error: sqlite3.Error) -> None:
        if self._must_keep:
            raise ValueError(
                f"{self.config.kept}: answers cannot be kept there ({error}): make room, or free "
                "the file, and give the same command again"
            ) from error
        print(f"{self.config.kept}: {error}: what is said is not kept any more", flush=True)
        self._kept = None


class _Call:
    """What the threads of a call tell each other: why the rest is not sent, once it is not."""

    def __init__(self):
        self.given_up, self._in_a_row, self._lock = "", 0, threading.Lock()

    def ended(self, failure: Failed | None = None) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if failure is not None else 0
            if self._in_a_row >= HOPELESS and not self.given_up:
                self.given_up = f"not sent: {HOPELESS} requests before it failed ({failure})"


def _name(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
