"""Questions of an evaluation answered elsewhere: by a model behind an endpoint, or in a file."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r3jax.completions import AGAIN
from r3jax.data import chat, images, message_parts, tables
from r3jax.data.tables import TableRow
from r3jax.endpoint import Endpoint, EndpointConfig, EndpointError
from r3jax.evaluate import results
from r3jax.records import Question
from r3jax.run import origins
from r3jax.run.suites import Reply, Suite

TEXTS = ("prediction", "reply", "response", "output", "text", "answer")
"""Names under which files have what was answered; the first that a file has counts."""
GONE = (401, 403, 404)  # statuses that say that nobody may ask, or that nobody is there


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
            "endpoint_model": self.config.model,
            "url": self.config.url,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "instruction": self.form.instruction,
            "pixels": [bounds.min_pixels, bounds.max_pixels],
        }

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields replies; see `benchmark.Asker`. A question that is refused has an empty one.

        Raises: ValueError where one has none after all tries. Those after it that have one are
        kept.
        """
        size = len(suite.ids) // suite.repeats
        for time in range(first // size, suite.repeats):
            endpoint = Endpoint(dataclasses.replace(self.config, kept=self._kept(time)))
            numbers = iter(range(max(first, time * size), (time + 1) * size))
            while chunk := list(itertools.islice(numbers, 2 * self.config.at_once)):
                asked = [messages(suite.question(n, self.form), self.form) for n in chunk]
                found = [_reply(one) for one in endpoint.ask_all(asked).replies]
                whole = list(itertools.takewhile(lambda one: isinstance(one, Reply), found))
                yield whole
                if len(whole) < len(chunk):
                    _give_up(suite.ids[chunk[len(whole)]], found)

    def _kept(self, time: int) -> str:
        """The file of one time that everything is asked: at a temperature each has its own."""
        return "" if self.folder is None else str(self.folder / f"replies-{time + 1}.sqlite")


def _reply(one: str | EndpointError) -> Reply | EndpointError:
    """What was said; nothing where the endpoint answers others but will not answer this."""
    if isinstance(one, str):
        return Reply(one)
    refused = 400 <= one.status < 500 and one.status not in (*GONE, *AGAIN)
    refused |= one.refused is not None
    return Reply("", stop=results.REFUSED) if refused else one


def _give_up(id: str, found: Sequence[Reply | EndpointError]) -> None:
    failed = [one for one in found if isinstance(one, EndpointError)]
    raise ValueError(
        f"question {id}: {failed[0]}. {len(failed)} requests have no reply; run the same command "
        "to ask them again"
    )


def messages(question: Question, form: chat.ChatFormat) -> list[dict[str, Any]]:
    """A question as the API takes it: images as PNG, at the size that the chat format says."""

    def part(said: str | int) -> message_parts.Part:
        if isinstance(said, str):
            return message_parts.text(said)
        return message_parts.image(images.prepare(question.images[said], form.image_bounds))

    return [
        {"role": turn.role, "content": [part(said) for said in turn.parts]}
        for turn in chat.turns_of(question, form)
    ]


@dataclasses.dataclass(frozen=True)
class File:
    """A file of rows with what was answered, by the `id` of each question or in their order."""

    path: Path
    form: chat.ChatFormat | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"predictions": str(self.path), "content": origins.fingerprint_data(self.path)}

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields all replies; see `benchmark.Asker`. Raises: ValueError where one is missing, or
        there twice."""
        rows = tables.read(self.path)
        name = next((n for n in TEXTS if any(n in row.values for row in rows)), None)
        if name is None:
            raise ValueError(f"{rows[0].where}: expected a reply as one of {', '.join(TEXTS)}")
        if all("id" in row.values for row in rows):
            rows = self._in_order(rows, suite.ids)
        elif len(rows) != len(suite.ids):
            raise ValueError(
                f"{self.path}: expected {len(suite.ids)} replies, one a question in their order, "
                f"found {len(rows)}; or give each its question's id as 'id'"
            )
        yield [Reply(str(row.values.get(name) or "")) for row in rows[first:]]

    def _in_order(self, rows: Sequence[TableRow], ids: Sequence[str]) -> list[TableRow]:
        by_id: dict[str, TableRow] = {}
        for row in rows:
            id = str(row.values["id"])
            if id in by_id:
                raise ValueError(f"{row.where}: has the id {id}, as {by_id[id].where} has")
            by_id[id] = row
        if missing := [id for id in ids if id not in by_id]:
            raise ValueError(
                f"{self.path}: no reply for {len(missing)} of {len(ids)} questions, the first of "
                f"which is {missing[0]}: add them, or limit what is asked"
            )
        return [by_id[id] for id in ids]
