"""The records of making traces: a question on its way to be a trace, and what a stage decides."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from r3jax.endpoint import EndpointError
from r3jax.records import Box


@dataclasses.dataclass(frozen=True)
class Hint:
    """Something that a source knows to be in an image, and where, in pixels of the original."""

    text: str
    box_original: Box


@dataclasses.dataclass(frozen=True)
class Sample:
    """A question with its right answers, and what the stages so far have made of it.

    `where` is "file, row n", and tells samples apart; `image` is a file in the output's `images/`,
    `image_hash` what it is compared by (`duplicates.hash_image`).
    `segments` are the teacher's texts, the first ones ending with a box in pixels of an image under
    VLIR's bounds; `things` is what was recognised in each of their crops.
    """

    where: str
    id: str
    source: str
    source_id: str
    question: str
    answers: tuple[str, ...]
    image: str
    image_hash: str = ""
    hints: tuple[Hint, ...] = ()
    segments: tuple[str, ...] = ()
    things: tuple[str, ...] = ()


class Verdict(enum.StrEnum):
    """What becomes of a sample in a stage; UNDECIDED is asked again by the same command."""

    KEPT = "kept"
    DROPPED = "dropped"
    UNDECIDED = "undecided"


@dataclasses.dataclass(frozen=True)
class Usage:
    """What was asked of an endpoint: requests that were answered, the tokens that it told of, and
    how many requests it told nothing of."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0

    def plus(self, tokens: tuple[int, int] | None) -> "Usage":
        """With one more request."""
        prompt, completion = tokens or (0, 0)
        return Usage(
            self.requests + 1,
            self.prompt_tokens + prompt,
            self.completion_tokens + completion,
            self.untold + (tokens is None),
        )

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other))))


@dataclasses.dataclass(frozen=True)
class Decision:
    """A line of a stage's file: the sample as it leaves the stage, and what becomes of it.

    `reason` is a word or two to count by, `told` says more.
    """

    sample: Sample
    verdict: Verdict = Verdict.KEPT
    reason: str = ""
    told: str = ""
    usage: Usage = Usage()

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Decision":
        """What `as_json` gave. Raises: ValueError for anything else."""
        try:
            return cls(
                _sample(values["sample"]),
                Verdict(values["verdict"]),
                values["reason"],
                values["told"],
                Usage(**values["usage"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no decision about a sample: {error!r}") from error


def _sample(values: Mapping[str, Any]) -> Sample:
    lists = {name: tuple(values[name]) for name in ("answers", "segments", "things")}
    hints = tuple(Hint(one["text"], tuple(one["box_original"])) for one in values["hints"])
    return Sample(**{**values, **lists, "hints": hints})


def dropped(sample: Sample, reason: str, told: str = "", usage: Usage = Usage()) -> Decision:
    """A sample that goes no further."""
    return Decision(sample, Verdict.DROPPED, reason, told, usage)


def undecided(sample: Sample, error: Exception, usage: Usage = Usage()) -> Decision:
    """A sample about which an endpoint has said nothing."""
    return Decision(sample, Verdict.UNDECIDED, "endpoint failed", str(error), usage)


def unanswered(
    sample: Sample, error: EndpointError, unreadable: str, usage: Usage = Usage()
) -> Decision:
    """A sample that an endpoint was asked about in vain. One that was not there has said nothing;
    one that refuses the request always will, and one that said nothing that can be read, however
    often, has failed at the sample: dropped, the latter as `unreadable`."""
    if error.refused is None:
        return undecided(sample, error, usage)
    reason = "request refused" if error.status else unreadable
    return dropped(sample, reason, error.refused[-400:], usage)
