"""What is asked of a rollout that serves, and what it tells: between the part that speaks HTTP,
which knows no JAX, and the one that computes."""

import dataclasses
from collections.abc import Callable

from r3jax.records import Group, Look, Question


@dataclasses.dataclass(frozen=True)
class Order:
    """A question, and how it is to be answered.

    `temperature` 0 is greedy; `max_tokens` is the budget of the whole episode, looks included
    (None: as many as there is room for). Equal orders get equal episodes, whatever is asked beside
    them.
    """

    question: Question
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Progress:
    """What an episode has gained since it was told last: looks, and the text after them."""

    text: str
    looks: tuple[Look, ...]


class OrderError(ValueError):
    """One order that cannot be served; others can."""


Told = Progress | Group | Exception
"""An episode grows, is finished, or cannot be: whoever ordered it is told from another thread."""

Tell = Callable[[Told], None]
