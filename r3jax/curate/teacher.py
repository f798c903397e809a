"""Conversations with a teacher, which really sees each crop before it goes on."""

import dataclasses
import pathlib
from collections.abc import Iterator

from r3jax.curate import prompts, replay, reply, samples
from r3jax.curate.samples import Decision, Sample, Usage
from r3jax.data import chat, frames, images, looks, vlir
from r3jax.endpoint import Endpoint, EndpointConfig, EndpointError, Talk
from r3jax.records import Look, LookOutcome


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """A teacher behind an endpoint: how many looks a trace must have at least and may at most, and
    dollars a million tokens of prompts and of completions.

    Raises: ValueError for bounds of looks that no trace meets, or that training does not take.
    """

    endpoint: EndpointConfig
    min_looks: int = 1
    max_looks: int = 4
    price: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        if not 0 <= self.min_looks <= self.max_looks:
            raise ValueError(
                "teacher: expected 0 <= min_looks <= max_looks, found "
                f"{self.min_looks} and {self.max_looks}"
            )
        if self.max_looks > replay.RULES.max_looks:
            raise ValueError(
                f"teacher: max_looks is at most {replay.RULES.max_looks}, which training takes of "
                f"a trace, found {self.max_looks}"
            )


def connect(config: TeacherConfig, **options) -> Endpoint:
    """The endpoint, which takes a box or an answer for a reply; `options` are those of Endpoint."""
    return Endpoint(config.endpoint, accepts=lambda text: reply.read(text) is not None, **options)


def teach(
    endpoint: Endpoint, config: TeacherConfig, folder: pathlib.Path, asked: Iterator[Sample]
) -> Iterator[Decision]:
    """Traces of samples whose images lie in `folder`, in order."""
    return endpoint.hold_all(talk(sample, config, folder) for sample in asked)


def talk(sample: Sample, config: TeacherConfig, folder: pathlib.Path) -> Talk[Decision]:
    """A conversation about a sample, which ends with its trace or with why there is none."""
    image = images.open_image(sample.image, folder)
    try:
        frame = frames.Frame.fit(*image.shape[:2], vlir.VLIR_BOUNDS)
    except ValueError as error:
        return samples.dropped(sample, "image shape", str(error))
    rules = dataclasses.replace(replay.RULES, max_looks=config.max_looks)
    messages = prompts.ask_teacher(
        sample, images.prepare(image, vlir.VLIR_BOUNDS), frame, config.max_looks
    )
    parts: list[reply.Reply] = []
    taken: list[Look] = []
    usage = Usage()
    while True:
        said = yield messages
        if isinstance(said, EndpointError):
            return samples.unanswered(sample, said, "no answer", usage)
        usage = usage.plus(said.tokens)
        parts.append(part := reply.read(said.text))
        if not part.asks:
            break
        look = looks.take_look(part.text, image, frame, taken, rules)
        if look.outcome is not LookOutcome.OK:
            reason = f"box {look.outcome.replace('_', ' ')}"
            return samples.dropped(sample, reason, look.text, usage)
        taken.append(look)
        is_last = len(taken) == config.max_looks
        messages = [*messages, prompts.reply_of(part.text), prompts.show_crop(look.crop, is_last)]
    sample = dataclasses.replace(sample, segments=reply.join(parts))
    if len(taken) < config.min_looks:
        told = f"{len(taken)}; {answer_of(sample)}"
        return samples.dropped(sample, "too few looks", told, usage)
    return Decision(sample, usage=usage)


def crops_of(sample: Sample, folder: pathlib.Path) -> tuple[Look, ...]:
    """The looks of a trace, cut anew from its image in `folder`."""
    image = images.open_image(sample.image, folder)
    frame = frames.Frame.fit(*image.shape[:2], vlir.VLIR_BOUNDS)
    return replay.take_looks(as_row(sample, folder), frame, image)


def as_row(sample: Sample, folder: pathlib.Path) -> vlir.SftRow:
    """A trace as training reads it."""
    return vlir.SftRow(
        where=sample.where,
        id=sample.id,
        image=folder / sample.image,
        question=sample.question,
        tags={},
        boxes_in=vlir.VLIR_BOUNDS,
        segments=sample.segments,
        trained=(True,) * len(sample.segments),
        num_crops=len(sample.segments) - 1,
    )


def answer_of(sample: Sample) -> str:
    """What the teacher answered, as training reads it."""
    return chat.answer_in("".join(sample.segments)) or ""
