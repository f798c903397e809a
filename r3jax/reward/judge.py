"""The interface of a judge: what the rules cannot decide goes there, all of it in one call."""

import dataclasses
from collections.abc import Callable, Sequence

from r3jax import records


@dataclasses.dataclass(frozen=True)
class JudgeRequest:
    """One answer to be judged against the known one."""

    question: str
    gold: str
    answer: str


Judge = Callable[[Sequence[JudgeRequest]], Sequence[records.Verdict]]
"""Returns one verdict for each request, in order; UNKNOWN where it could not find one."""


def ask(judge: Judge, requests: Sequence[JudgeRequest]) -> tuple[records.Verdict, ...]:
    """Send the requests in one call and check that every one came back.

    Errors: ValueError if the number of verdicts is another one; TypeError for other objects.
    """
    if not requests:
        return ()
    verdicts = tuple(judge(requests))
    if len(verdicts) != len(requests):
        raise ValueError(
            f"the judge returned {len(verdicts)} verdicts for {len(requests)} requests; "
            "it must return one for each, UNKNOWN where it has none"
        )
    for verdict in verdicts:
        if not isinstance(verdict, records.Verdict):
            raise TypeError(
                f"the judge returned {verdict!r}, expected a records.Verdict "
                "(RIGHT, WRONG or UNKNOWN)"
            )
    return verdicts
