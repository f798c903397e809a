"""What a trace must pass: its answer is right, every crop shows something, the chain holds.

A filter without an endpoint to ask is not run; what an endpoint has not said decides nothing.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator

from r3jax.curate import prompts, samples, teacher
from r3jax.curate.samples import Decision, Sample, Usage
from r3jax.endpoint import Endpoint, EndpointConfig, EndpointError, Talk
from r3jax.records import Verdict
from r3jax.reward import endpoint_judge
from r3jax.reward.answers import judge_by_rules
from r3jax.reward.judge import JudgeRequest

LONGEST_NAME = 200  # characters in which a recogniser names what it sees
_NOTHING = frozenset({"none", "nothing", "unknown", "unclear", "unrecognizable", "unrecognisable"})
_MARKUP = " \t\r\n*_\"'`#>"
_OPENING = rf"[{_MARKUP}]*"
_THING = re.compile(rf"{_OPENING}(?:SEEN{_OPENING}:(?P<name>.*)|NONE\b)", re.IGNORECASE | re.DOTALL)
_JUDGEMENT = re.compile(
    rf"{_OPENING}(?:KEEP{_OPENING}(?=$|[.:;\u2013\u2014-])(?!.*\bDROP\b)"
    r"|DROP[\W_]+(?P<reason>INCOHERENT|REDUNDANT|UNGROUNDED)\b)",
    re.IGNORECASE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class AskedConfig:
    """A recogniser or a judge behind an endpoint, and its dollars a million tokens of prompts and
    of completions."""

    endpoint: EndpointConfig
    price: tuple[float, float] = (0.0, 0.0)


def check_answers(endpoint: Endpoint | None, asked: Iterator[Sample]) -> Iterator[Decision]:
    """Keeps samples whose answer is right, by the rules of rewards or, where these cannot say and
    there is one, by a judge."""
    talks = (_compare(sample, endpoint is not None) for sample in asked)
    return _alone(talks) if endpoint is None else endpoint.hold_all(talks)


def _alone(talks: Iterable[Talk[Decision]]) -> Iterator[Decision]:
    """What talks end with that ask nobody."""
    for talk in talks:
        try:
            next(talk)
        except StopIteration as end:
            yield end.value


def _compare(sample: Sample, has_judge: bool) -> Talk[Decision]:
    answer = teacher.answer_of(sample)
    told = f"{answer!r} for {' or '.join(map(repr, sample.answers))}"
    verdicts = {
        judge_by_rules(answer, gold, sample.source, has_alternatives=False)
        for gold in sample.answers
    }
    verdict = next(
        one for one in (Verdict.RIGHT, Verdict.UNKNOWN, Verdict.WRONG) if one in verdicts
    )
    usage = Usage()
    if verdict is Verdict.UNKNOWN and len(answer) > endpoint_judge.MOST_CHARACTERS:
        verdict = Verdict.WRONG
    if verdict is Verdict.UNKNOWN and has_judge:
        request = JudgeRequest(sample.question, " or ".join(sample.answers), answer)
        said = yield endpoint_judge.messages(request)
        if isinstance(said, EndpointError):
            return samples.unanswered(sample, said, "judge unreadable")
        verdict, usage = endpoint_judge.read(said.text), usage.plus(said.tokens)
    if verdict is Verdict.RIGHT:
        return Decision(sample, usage=usage)
    reason = "wrong answer" if verdict is Verdict.WRONG else "nobody knows if right"
    return samples.dropped(sample, reason, told, usage)


def read_thing(reply: str) -> str | None:
    """What a recogniser sees, "" where that is nothing; None for a reply in another form, a long
    name, or one without a letter or a digit.

    >>> read_thing("Seen: a red bus"), read_thing("NONE - blurred"), read_thing("A red bus")
    ('a red bus', '', None)
    """
    match = _THING.match(reply)
    if match is None:
        return None
    if match["name"] is None:
        return ""
    name = " ".join(match["name"].split()).strip(" *_\"'`")
    words = re.findall(r"[^\W_]+", name.lower())
    if " ".join(words) in _NOTHING or words[:1] in (["none"], ["nothing"]):
        return ""
    return name if words and len(name) <= LONGEST_NAME else None


def can_read_thing(reply: str) -> bool:
    """Whether a reply says what is seen."""
    return read_thing(reply) is not None


def check_regions(
    endpoint: Endpoint, asked: Iterator[Sample], folder: pathlib.Path
) -> Iterator[Decision]:
    """Keeps samples in each of whose crops something is recognised, and notes what.

    Source: the paper's filter of semantic units.
    """
    return endpoint.hold_all(_recognise(sample, folder) for sample in asked)


def _recognise(sample: Sample, folder: pathlib.Path) -> Talk[Decision]:
    found: list[str] = []
    usage = Usage()
    for look in teacher.crops_of(sample, folder):
        said = yield prompts.ask_recogniser(look.crop)
        if isinstance(said, EndpointError):
            return samples.unanswered(sample, said, "recogniser unreadable", usage)
        usage = usage.plus(said.tokens)
        if not (name := read_thing(said.text)):
            return samples.dropped(sample, "nothing recognised", look.text, usage)
        found.append(name)
    return Decision(dataclasses.replace(sample, things=tuple(found)), usage=usage)


def read_judgement(reply: str) -> str | None:
    """Why a judge drops a chain, "" where it keeps it; None for a reply that does not begin with
    either, or that keeps and drops.

    >>> read_judgement("Drop: redundant, as"), read_judgement("KEEP"), read_judgement("Keep it")
    ('redundant', '', None)
    """
    match = _JUDGEMENT.match(reply)
    return None if match is None else (match["reason"] or "").lower()


def can_read(reply: str) -> bool:
    """Whether a reply judges a chain."""
    return read_judgement(reply) is not None


def check_chains(endpoint: Endpoint, asked: Iterator[Sample]) -> Iterator[Decision]:
    """Keeps samples whose steps hold together and of which none is idle, by a judge.

    Source: the paper's filter of coherence and redundancy.
    """
    return endpoint.hold_all(_judge(sample) for sample in asked)


def _judge(sample: Sample) -> Talk[Decision]:
    said = yield prompts.ask_judge(sample, teacher.answer_of(sample))
    if isinstance(said, EndpointError):
        return samples.unanswered(sample, said, "judge unreadable")
    usage = Usage().plus(said.tokens)
    if reason := read_judgement(said.text):
        return samples.dropped(sample, reason, "", usage)
    return Decision(sample, usage=usage)
