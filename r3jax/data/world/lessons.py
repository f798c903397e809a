"""Batches of perception lessons for a model from nothing, drawn from (seed, step)."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from r3jax import patches
from r3jax.data import chat, frames, images, traces
from r3jax.data.tokenizer import Tokenizer
from r3jax.data.world import generate, pretrain
from r3jax.data.world.places import COLOURS, LETTERS, Sample, lattice_of
from r3jax.data.world.pretrain import WORDS
from r3jax.data.world.shapes import SHAPES
from r3jax.records import Episode, Prompt, Question

MOST_CELLS = 4  # rows or columns of the largest picture

CLASSES: Mapping[str, int] = {
    "colour": 1 + len(COLOURS),
    "shape": 1 + len(SHAPES),
    "letter": 1 + len(LETTERS),
    "row": 1 + MOST_CELLS,
    "column": 1 + MOST_CELLS,
    "tens": 1 + 10,
    "units": 1 + 10,
}
"""Values of each dense attribute, 0 for nothing; digits, rows and columns count from 1."""

NO_LABEL = -1


@dataclasses.dataclass(frozen=True)
class LessonPlan:
    """What a batch holds: `pictures` images with `per_picture` lessons each, and `prints` crops.

    `pool` is how many pictures of the training split are drawn from, with questions about both
    large and small numbers as `world` says.
    """

    pictures: int = 24
    per_picture: int = 4
    prints: int = 96
    pool: int = 8000
    world: generate.WorldConfig = generate.WorldConfig()


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A task ready for packing; `labels` int [tokens of its image] for each dense attribute.

    `named` int8 [tokens, W] says which words name the place at a token; none for a crop.
    """

    prompt: Prompt
    episode: Episode
    labels: Mapping[str, np.ndarray]
    named: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Draws lessons in the format of a model (pictures alone without a tokenizer) from `seed`."""

    plan: LessonPlan
    tokenizer: Tokenizer | None
    form: chat.ChatFormat
    seed: int = 0
    split: str = "train"

    def draw(self, step: int, tasks: Mapping[str, float]) -> tuple[list[Lesson], list[Lesson]]:
        """Lessons about scenes, all of one task, and about small print, of one step.

        Answers of one task are about as long as each other: a mix would pad all to the longest.
        """
        rng = np.random.default_rng([self.seed, generate.SPLITS.index(self.split), step])
        shares = np.array(list(tasks.values()), np.float64)
        name = str(rng.choice(list(tasks), p=shares / shares.sum()))
        scenes, prints = [], []
        for number in rng.integers(self.plan.pool, size=self.plan.pictures):
            sample, shown, frame = self._picture(int(number))
            labels, named = scene_labels(sample), scene_words(sample)
            for _ in range(self.plan.per_picture):
                task = _ask(rng, name, sample, frame)
                scenes.append(self._lesson(task, shown, labels, named))
        for number in rng.integers(self.plan.pool, size=self.plan.prints):
            sample, _, frame = self._picture(int(number))
            task = pretrain.read(rng, sample, frame, self.form.look_rules.crop)
            labels = print_labels(task, patches.merged_grid(task.image.shape))
            prints.append(self._lesson(task, task.image, labels))
        return scenes, prints

    def pictures_and_crops(self, count: int) -> list[np.ndarray]:
        """Images as the model sees them: `count` scenes, and a crop of one place of each."""
        shown = []
        for number in range(count):
            sample, scene, frame = self._picture(number)
            rng = np.random.default_rng([self.seed, number])
            shown += [scene, pretrain.read(rng, sample, frame, self.form.look_rules.crop).image]
        return shown

    def _picture(self, number: int) -> tuple[Sample, np.ndarray, frames.Frame]:
        return _picture(self.plan, self.seed, self.split, number, self.form.image_bounds)

    def word_tokens(self) -> np.ndarray:
        """The token of each of WORDS, int32 [W]; ValueError for one that is cut into pieces."""
        tokens = [self.tokenizer.encode(" " + word) for word in WORDS]
        if cut := [word for word, pieces in zip(WORDS, tokens) if len(pieces) != 1]:
            raise ValueError(f"the tokenizer cuts {', '.join(cut)} into pieces: learn more merges")
        return np.concatenate(tokens)

    def _lesson(self, task: pretrain.Task, shown: np.ndarray, labels, named=None) -> Lesson:
        # `shown` is the image at the prompt's size already, which `build_prompt` leaves as it is.
        question = Question("lesson", task.prompt, (shown,))
        prompt, frame = chat.build_prompt(question, self.tokenizer, self.form)
        trace = traces.Trace(question, (task.answer,), (True,), 0, frame, "a lesson")
        episode = traces.build_teacher_episode(trace, prompt, frame, self.tokenizer, self.form)
        return Lesson(prompt, episode, labels, named)


@functools.lru_cache(maxsize=20_000)
def _picture(plan: LessonPlan, seed: int, split: str, number: int, bounds: frames.PixelBounds):
    sample = generate.samples_of_picture(seed, number, split, plan.world)[0]
    frame = frames.Frame.fit(*sample.image.shape[:2], bounds)
    return sample, images.prepare(sample.image, bounds), frame


def _ask(rng: np.random.Generator, name: str, sample: Sample, frame: frames.Frame) -> pretrain.Task:
    if name not in pretrain.LESSONS:
        raise ValueError(
            f"there is no lesson {name!r}: expected one of {', '.join(pretrain.LESSONS)}"
        )
    return pretrain.LESSONS[name](rng, sample, frame)


def scene_labels(sample: Sample) -> Mapping[str, np.ndarray]:
    """Dense labels of a scene's tokens in raster order; digits are not asked for there."""
    seen = pretrain.dense_labels(sample)
    row, column = np.indices(seen.colour.shape, np.int32) + 1
    known = {
        "colour": seen.colour,
        "shape": seen.shape,
        "letter": seen.letter,
        "row": row,
        "column": column,
    }
    return _labels(seen.colour.size, {name: grid.ravel() for name, grid in known.items()})


def scene_words(sample: Sample) -> np.ndarray:
    """Which of WORDS name the place at each token of a scene, int8 [tokens, W]."""
    rows, columns = lattice_of(sample.image)
    named = np.zeros((rows, columns, len(WORDS)), np.int8)
    for place in sample.places:
        used = pretrain.words_for(place)
        named[place.row - 1, place.column - 1] = [word in used for word in WORDS]
    return named.reshape(rows * columns, len(WORDS))


def print_labels(task: pretrain.Task, grid: tuple[int, int]) -> Mapping[str, np.ndarray]:
    """Dense labels of a crop's tokens: every token is asked for both digits of the number."""
    number = int(task.answer.removeprefix("It says ").removesuffix("."))
    tokens = grid[0] * grid[1]
    digits = {"tens": number // 10 + 1, "units": number % 10 + 1}
    return _labels(tokens, {name: np.full(tokens, value) for name, value in digits.items()})


def _labels(tokens: int, known: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Labels of every attribute, int32 [tokens]; those that are not known are NO_LABEL."""
    return {name: known.get(name, np.full(tokens, NO_LABEL)).astype(np.int32) for name in CLASSES}
