"""Questions about a picture and the teacher's way to their answers."""

import dataclasses
import json

import numpy as np

from r3jax.data.world.places import Picture, Place
from r3jax.data.world.wording import start_sentence
from r3jax.records import Box

# Names that say where a place is, and not what is there.
WHERE = ("cell", "position")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question with its answer, the places it needs and the teacher's segments of text."""

    text: str
    answer: str
    targets: tuple[int, ...]
    kind: str
    rationale: tuple[str, ...]


def ask_one(rng: np.random.Generator, picture: Picture, target: int) -> Asked:
    """A question that one look at the place `target` answers."""
    place = picture.places[target]
    kind = str(rng.choice(list(place.words)))
    answer = str(place.number)
    rationale = (
        f"<think>{locate(place, kind)}",
        f"It says {answer}.</think><answer>{answer}</answer>",
    )
    text = f"What number is on {place.words[kind]}?"
    return Asked(text, answer, (target,), kind, rationale)


def ask_two(rng: np.random.Generator, picture: Picture, targets: tuple[int, int]) -> Asked:
    """A question that needs a look at two places: which number is larger, or their sum."""
    first, second = (picture.places[target] for target in targets)
    kinds = [draw_kind(rng, place) for place in (first, second)]
    names = [place.words[kind] for place, kind in zip((first, second), kinds)]
    a, b = first.number, second.number
    if rng.random() < 0.5:
        kind, answer = "compare", str(max(a, b))
        text = f"Which is larger, the number on {names[0]} or on {names[1]}?"
        conclusion = f"{max(a, b)} is larger than {min(a, b)}."
    else:
        kind, answer = "add", str(a + b)
        text = f"What is the sum of the numbers on {names[0]} and {names[1]}?"
        conclusion = f"{a} + {b} = {a + b}."
    rationale = (
        f"<think>{locate(first, kinds[0])}",
        f"It says {a}. {locate(second, kinds[1])}",
        f"It says {b}. {conclusion}</think><answer>{answer}</answer>",
    )
    return Asked(text, answer, targets, kind, rationale)


def locate(place: Place, kind: str) -> str:
    """The sentence that says where a place is, and its box in pixels of the original image."""
    return f"{tell_cell(place, kind)} {box_text(place.gold_box)}"


def tell_cell(place: Place, kind: str) -> str:
    """The sentence that says in which cell a place is that was asked for by a `kind` of name.

    A name that says where the place is leads there as it is: to name the thing first would be to
    look before looking.
    """
    name = "it" if kind in WHERE else place.words[kind]
    return f"{start_sentence(name)} is in row {place.row}, column {place.column}."


def box_text(box: Box) -> str:
    """A box as the model writes it, whole pixels.

    >>> box_text((84, 0, 168, 84))
    '{"bbox_2d": [84, 0, 168, 84]}'
    """
    return json.dumps({"bbox_2d": [round(value) for value in box]})


def draw_kind(rng: np.random.Generator, place: Place) -> str:
    """A kind of name for one of two places; short ones only."""
    return str(rng.choice([kind for kind in place.words if kind not in WHERE]))
