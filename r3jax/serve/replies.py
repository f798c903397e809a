"""What a server says of an episode: whole, or piece by piece as it grows."""

import codecs
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from r3jax.data import chat
from r3jax.records import Episode, Group, Look, Source, Stop
from r3jax.serve.protocol import ChatRequest
from r3jax.view import as_json, pictures

DONE = b"data: [DONE]\n\n"


@dataclasses.dataclass(frozen=True)
class Heading:
    """What stands above every reply to a request: its id, and when it came, in seconds of Unix."""

    id: str
    created: int
    model: str

    def over(self, kind: str, **rest: Any) -> dict[str, Any]:
        """The object of a reply."""
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return named | rest


def whole(head: Heading, request: ChatRequest, group: Group, episode: Episode) -> dict[str, Any]:
    """The reply with all of an episode, as it is after `cut_at_stops`."""
    message: dict[str, Any] = {"role": "assistant", "content": content(request, episode)}
    if request.trace:
        looks = [look(one) for one in episode.looks]
        message["trace"] = as_json.episode(episode) | {"looks": looks}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(episode)}
    return head.over("chat.completion", choices=[choice], usage=usage(group, episode))


def chunk(
    head: Heading, delta: dict[str, str], finish: str | None = None, **more: Any
) -> dict[str, Any]:
    """A piece of a reply that is streamed; `more` are keys of this server's own."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return head.over("chat.completion.chunk", choices=[choice], **more)


def last_chunk(head: Heading, group: Group, episode: Episode) -> dict[str, Any]:
    """The chunk of the usage, after all others."""
    return head.over("chat.completion.chunk", choices=[], usage=usage(group, episode))


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def content(request: ChatRequest, episode: Episode) -> str:
    """The text of an episode, or its answer alone where that is asked for and there is one."""
    alone = request.answer_only and episode.answer is not None
    return episode.answer if alone else episode.text


def finish_reason(episode: Episode) -> str:
    """As OpenAI names it: "length" where the budget ran out."""
    return "length" if episode.stop is Stop.LENGTH else "stop"


def usage(group: Group, episode: Episode) -> dict[str, Any]:
    """Tokens of prompt and episode; those of images are counted like any."""
    prompt, completion = len(group.prompt.tokens), len(episode.tokens)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {
            "sampled_tokens": int((episode.source == Source.SAMPLED).sum()),
            "image_tokens": int((episode.source == Source.IMAGE).sum()),
        },
    }


def look(one: Look) -> dict[str, Any]:
    """A look with its crop as a data URL, null where there is none."""
    shown = None if one.crop is None else pictures.data_url(one.crop)
    return as_json.look(one) | {"crop": shown}


def cut_at_stops(episode: Episode, stops: Sequence[str], token_bytes: Sequence[bytes]) -> Episode:
    """The episode up to where the first of the stops begins in its text.

    Its tokens are those that brought the stop to its end, whatever was decoded beyond it before
    somebody saw it; looks after that are gone.
    """
    found = _first(episode.text, stops)
    if found is None:
        return episode
    begin, end = found
    text, read, kept = codecs.getincrementaldecoder("utf-8")("replace"), 0, 0
    while read < end and kept < len(episode.tokens):
        if episode.source[kept] != Source.IMAGE:
            read += len(text.decode(token_bytes[episode.tokens[kept]]))
        kept += 1
    inserted = episode.source[:kept] != Source.SAMPLED
    looks = int((np.diff(inserted, prepend=False) & inserted).sum())
    return dataclasses.replace(
        episode,
        tokens=episode.tokens[:kept],
        source=episode.source[:kept],
        positions=episode.positions[:, :kept],
        logp=episode.logp[:kept],
        looks=episode.looks[:looks],
        stop=Stop.END,
        text=episode.text[:begin],
        answer=chat.answer_in(episode.text[:begin]),
    )


class Gate:
    """Lets text through as it grows, up to the first of some stops: what could be the beginning of
    one waits.

    >>> gate = Gate(["END"])
    >>> gate.through("the E"), gate.through("a EN"), gate.through("D and"), gate.closed
    ('the ', 'Ea ', '', True)
    """

    def __init__(self, stops: Sequence[str]):
        self._stops, self._held, self.closed = stops, "", False

    def through(self, text: str) -> str:
        """Returns what may be shown now."""
        if self.closed:
            return ""
        text = self._held + text
        if found := _first(text, self._stops):
            self.closed, self._held = True, ""
            return text[: found[0]]
        kept = max((_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _first(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Where the stop that is complete first begins and ends.

    >>> _first("abcd", ["abcd", "bc"])
    (1, 3)
    """
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    return min(found)[::-1] if found else None


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop.

    >>> _begun("the EN", "END")
    2
    """
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(stop[:n])), 0)
