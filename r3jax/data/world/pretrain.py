"""Perception tasks for the base model, from pointing to captions, and dense labels.

Boxes in the answers are whole pixels of the image as the model sees it (`frame`).
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from r3jax.data import frames, images
from r3jax.data.world.places import COLOURS, LETTERS, Place, Sample, lattice_of
from r3jax.data.world.questions import WHERE, box_text, draw_kind, tell_cell
from r3jax.data.world.shapes import SHAPES
from r3jax.data.world.wording import ORDINALS

WORDS: tuple[str, ...] = (*COLOURS, *SHAPES, *LETTERS, *ORDINALS, "last", "tallest", "shortest")
"""Words that name things; each is one token after a space."""


@dataclasses.dataclass(frozen=True)
class Task:
    """An image, uint8 [height, width, 3], with what is asked about it and the right answer."""

    image: np.ndarray
    prompt: str
    answer: str


def caption(sample: Sample, frame: frames.Frame) -> Task:
    """Every place in raster order: where it is, what it is, its box."""
    lines = [
        f"row {place.row}, column {place.column}: {place.title} {_box(place, frame)}"
        for place in sample.places
    ]
    return Task(sample.image, "List what you see.", "\n".join(lines))


def locate(rng: np.random.Generator, sample: Sample, frame: frames.Frame) -> Task:
    """Where one place is, called by one of its names: row, column and box."""
    place, kind = _called(rng, sample)
    answer = f"{tell_cell(place, kind)} {_box(place, frame)}"
    return Task(sample.image, f"Where is {place.words[kind]}?", answer)


def where(rng: np.random.Generator, sample: Sample) -> Task:
    """In which row and column one place is, called by one of its names."""
    place, kind = _called(rng, sample)
    return Task(sample.image, f"In which cell is {place.words[kind]}?", tell_cell(place, kind))


def point(rng: np.random.Generator, sample: Sample) -> Task:
    """The row and column of one place straight after a word that names it.

    No lesson is nearer to seeing: from the word itself a decoder finds the place that carries it.
    What is asked for in whole sentences rests on this.
    """
    place = sample.places[rng.integers(len(sample.places))]
    word = str(rng.choice(sorted(words_for(place))))
    return Task(sample.image, f"Point at the {word}.", f"the {word}{place.row},{place.column}")


def words_for(place: Place) -> frozenset[str]:
    """Which of WORDS name a place; words for where it is ("top left", "row 2") are none."""
    return frozenset(
        word
        for kind, name in place.words.items()
        if kind not in WHERE
        for word in name.split()
        if word in WORDS
    )


def both(rng: np.random.Generator, sample: Sample, frame: frames.Frame) -> Task:
    """Where two places are, one after the other as they are asked for."""
    called = _called_two(rng, sample)
    first, second = (place.words[kind] for place, kind in called)
    told = [f"{tell_cell(place, kind)} {_box(place, frame)}" for place, kind in called]
    return Task(sample.image, f"Where are {first} and {second}?", " ".join(told))


def tell(rng: np.random.Generator, sample: Sample, frame: frames.Frame) -> Task:
    """Where two places are and what is there: the second name is found after other words came."""
    called = _called_two(rng, sample)
    first, second = (place.words[kind] for place, kind in called)
    told = [
        f"{tell_cell(place, kind)} {_box(place, frame)}It is a {place.title}."
        for place, kind in called
    ]
    return Task(sample.image, f"What and where are {first} and {second}?", " ".join(told))


def reckon(rng: np.random.Generator, sample: Sample) -> Task:
    """What is known of two small numbers without looking: their sum, or which one is larger."""
    a, b = (int(n) for n in rng.choice(np.arange(1, 10), size=2, replace=False))
    if rng.random() < 0.5:
        return Task(sample.image, f"What is the sum of {a} and {b}?", f"{a} + {b} = {a + b}.")
    answer = f"{max(a, b)} is larger than {min(a, b)}."
    return Task(sample.image, f"Which is larger, {a} or {b}?", answer)


def sums(rng: np.random.Generator, sample: Sample, count: int = 8) -> Task:
    """Sums that nobody asked for by number: each is found from its own two numbers alone."""
    pairs = [rng.choice(np.arange(1, 10), size=2, replace=False) for _ in range(count)]
    answer = " ".join(f"{a} + {b} = {a + b}." for a, b in pairs)
    return Task(sample.image, "Do some sums.", answer)


def _called(rng: np.random.Generator, sample: Sample) -> tuple[Place, str]:
    """A place, and the kind of name that it is called by."""
    place = sample.places[rng.integers(len(sample.places))]
    return place, str(rng.choice(list(place.words)))


def _called_two(rng: np.random.Generator, sample: Sample) -> list[tuple[Place, str]]:
    """Two places in a random order, each with the kind of short name that it is called by."""
    chosen = rng.permutation(len(sample.places))[:2]
    return [(sample.places[n], draw_kind(rng, sample.places[n])) for n in chosen]


def name(rng: np.random.Generator, sample: Sample) -> Task:
    """What stands in one cell."""
    place = sample.places[rng.integers(len(sample.places))]
    prompt = f"What is in row {place.row}, column {place.column}?"
    return Task(sample.image, prompt, f"a {place.title}")


def read(
    rng: np.random.Generator, sample: Sample, frame: frames.Frame, bounds: frames.PixelBounds
) -> Task:
    """The number of one place, from its gold box enlarged as a look would show it."""
    place = sample.places[rng.integers(len(sample.places))]
    crop = images.cut_crop(sample.image, frames.plan_crop(frame, place.gold_box, bounds))
    return Task(crop, "Read the number.", f"It says {place.number}.")


LESSONS: Mapping[str, Callable[[np.random.Generator, Sample, frames.Frame], Task]] = {
    "point": lambda rng, sample, _: point(rng, sample),
    "where": lambda rng, sample, _: where(rng, sample),
    "locate": locate,
    "both": both,
    "tell": tell,
    "reckon": lambda rng, sample, _: reckon(rng, sample),
    "sums": lambda rng, sample, _: sums(rng, sample),
    "name": lambda rng, sample, _: name(rng, sample),
    "caption": lambda _, sample, frame: caption(sample, frame),
}
"""Lessons about a scene by the name that a config calls them by."""


def sentences(sample: Sample) -> list[str]:
    """One of each kind of sentence above, for a tokenizer to learn from."""
    frame = frames.Frame(*sample.image.shape[:2], *sample.image.shape[:2])
    rng = np.random.default_rng(0)
    tasks = [caption(sample, frame), locate(rng, sample, frame), where(rng, sample)]
    tasks += [both(rng, sample, frame), name(rng, sample), point(rng, sample)]
    tasks.append(reckon(rng, sample))
    return [text for task in tasks for text in (task.prompt, task.answer)] + ["Read the number."]


@dataclasses.dataclass(frozen=True)
class DenseLabels:
    """What is seen in each cell, which is one merged token: int32 [rows, columns], 0 for nothing.

    Colours, shapes and letters count from 1 in the order of `COLOURS`, `SHAPES` and `LETTERS`;
    `place` is 1 where small print is.
    """

    colour: np.ndarray
    shape: np.ndarray
    letter: np.ndarray
    place: np.ndarray


def dense_labels(sample: Sample) -> DenseLabels:
    """The labels of a sample's image, for supervision of the vision tower."""
    labels = DenseLabels(*(np.zeros(lattice_of(sample.image), np.int32) for _ in range(4)))
    colours = tuple(COLOURS)
    for mark in sample.marks:
        cell = mark.row - 1, mark.column - 1
        labels.colour[cell] = _id(mark.colour, colours)
        labels.shape[cell] = _id(mark.shape, SHAPES)
        labels.letter[cell] = _id(mark.letter, LETTERS)
    for place in sample.places:
        labels.place[place.row - 1, place.column - 1] = 1
    return labels


def _id(value: str | None, names: tuple[str, ...]) -> int:
    return 0 if value is None else names.index(value) + 1


def _box(place: Place, frame: frames.Frame) -> str:
    return box_text(frame.to_resized(place.gold_box))
