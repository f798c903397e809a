"""Questions of an evaluation answered elsewhere: by a model behind an endpoint, or in a file."""

import base64
import dataclasses
import functools
import io
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from r3jax.data import chat, images, tables
from r3jax.endpoint import Endpoint, EndpointConfig, EndpointError
from r3jax.records import Question
from r3jax.run import origins
from r3jax.run.suites import Reply, Suite

TEXTS = ("prediction", "reply", "response", "output", "text", "answer")
"""Names under which files have what was answered."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """A model behind an endpoint. It sees images at the size that `form` says. What it says is kept
    in files in `folder`, if there is one, so that nothing is asked twice."""

    config: EndpointConfig
    form: chat.ChatFormat
    folder: Path | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        bounds = self.form.image_bounds
        return {
            "model": self.config.model,
            "url": self.config.url,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "instruction": self.form.instruction,
            "pixels": [bounds.min_pixels, bounds.max_pixels],
        }

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields replies; see `benchmark.Asker`.

        Raises: ValueError where a question has no reply after all tries. Those after it that have
        one are kept.
        """
        size = len(suite.ids) // suite.repeats
        for time in range(first // size, suite.repeats):
            endpoint = Endpoint(dataclasses.replace(self.config, kept=self._kept(time)))
            numbers = iter(range(max(first, time * size), (time + 1) * size))
            while chunk := list(itertools.islice(numbers, 2 * self.config.at_once)):
                asked = [messages(suite.question(n, self.form), self.form) for n in chunk]
                found = endpoint.ask_all(asked)
                whole = list(
                    itertools.takewhile(lambda reply: isinstance(reply, str), found.replies)
                )
                yield [Reply(text) for text in whole]
                if len(whole) < len(chunk):
                    _give_up(suite.ids[chunk[len(whole)]], found.replies[len(whole)], found.failed)

    def _kept(self, time: int) -> str:
        """The file of one time that everything is asked: at a temperature each has its own."""
        return "" if self.folder is None else str(self.folder / f"replies-{time + 1}.sqlite")


def _give_up(id: str, error: EndpointError, failed: int) -> None:
    raise ValueError(
        f"question {id}: {error}. {failed} requests have no reply; run the same command to ask "
        "them again"
    )


def messages(question: Question, form: chat.ChatFormat) -> list[dict[str, Any]]:
    """A question as the API takes it: images as PNG, at the size that the chat format says."""

    def part(said: str | int) -> dict[str, Any]:
        if isinstance(said, str):
            return {"type": "text", "text": said}
        shown = images.prepare(question.images[said], form.image_bounds)
        return {"type": "image_url", "image_url": {"url": _as_url(shown)}}

    return [
        {"role": turn.role, "content": [part(said) for said in turn.parts]}
        for turn in chat.turns_of(question, form)
    ]


def _as_url(image: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


@dataclasses.dataclass(frozen=True)
class File:
    """A file of rows with what was answered, by the `id` of each question or in their order."""

    path: Path
    form: chat.ChatFormat | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"predictions": str(self.path), "content": origins.fingerprint_data(self.path)}

    @functools.cached_property
    def _rows(self) -> list[tables.TableRow]:
        return tables.read(self.path)

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields all replies; see `benchmark.Asker`. Raises: ValueError where one is missing."""
        rows = self._rows
        if all("id" in row.values for row in rows):
            by_id = {str(row.values["id"]): row for row in rows}
            if missing := [id for id in suite.ids if id not in by_id]:
                raise ValueError(
                    f"{self.path}: no reply for {len(missing)} of {len(suite.ids)} questions, the "
                    f"first of which is {missing[0]}: add them, or limit what is asked"
                )
            rows = [by_id[id] for id in suite.ids]
        elif len(rows) != len(suite.ids):
            raise ValueError(
                f"{self.path}: expected {len(suite.ids)} replies, one a question in their order, "
                f"found {len(rows)}; or give each its question's id as 'id'"
            )
        yield [_reply_in(row) for row in rows[first:]]


def _reply_in(row: tables.TableRow) -> Reply:
    for name in TEXTS:
        if row.values.get(name) is not None:
            return Reply(str(row.values[name]))
    raise ValueError(f"{row.where}: expected a reply as one of {', '.join(TEXTS)}")
