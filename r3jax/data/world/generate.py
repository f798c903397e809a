"""Samples of the look-again world: a pure function of seed, split and index.

>>> sample(seed=0, index=5, split="train").answer == sample(0, 5, "train").answer
True
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from r3jax.data.world import chart, document, faces, places, questions, scene, sign, smallprint
from r3jax.data.world.brief import Brief

SPLITS = ("train", "valid", "test")
FAMILIES: Mapping[str, Callable[[np.random.Generator, Brief], places.Picture]] = {
    "scene": scene.draw,
    "sign": sign.draw,
    "chart": chart.draw,
    "document": document.draw,
}
_PICTURE, _QUESTIONS = 0, 1  # streams of random numbers


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """What the world is made of.

    `families` take turns from image to image; `two_look_share` of the images hold small numbers
    and are asked questions that need two looks; `questions_per_image` samples share an image;
    `clutter_share` of the images hold grey strokes that answer nothing; `print` is how small and
    how hidden the numbers are.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    two_look_share: float = 0.25
    questions_per_image: int = 4
    clutter_share: float = 0.3
    print: smallprint.PrintStyle = smallprint.PrintStyle()

    def __post_init__(self):
        unknown = set(self.families) - set(FAMILIES)
        if unknown or not self.families:
            raise ValueError(f"families must be some of {tuple(FAMILIES)}, got {self.families}")
        for name in ("two_look_share", "clutter_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if not 1 <= self.questions_per_image <= 12:
            raise ValueError(
                f"questions_per_image must lie in 1..12, got {self.questions_per_image}"
            )


def sample(seed: int, index: int, split: str, config: WorldConfig | None = None) -> places.Sample:
    """The sample at an index of a split; samples that share an image are neighbours."""
    config = config or WorldConfig()
    picture_index, turn = divmod(index, config.questions_per_image)
    return samples_of_picture(seed, picture_index, split, config)[turn]


def samples_of_picture(
    seed: int, picture_index: int, split: str, config: WorldConfig
) -> tuple[places.Sample, ...]:
    """All samples of one picture, which is drawn once; they share the image array."""
    picture, two_looks = draw_picture(seed, picture_index, split, config)
    rng = np.random.default_rng([seed, SPLITS.index(split), picture_index, _QUESTIONS])
    asked = _ask_all(rng, picture, two_looks, config.questions_per_image)
    first = picture_index * config.questions_per_image
    height, width = picture.image.shape[:2]
    return tuple(
        places.Sample(
            id=f"{split}-{seed}-{first + turn}",
            split=split,
            family=picture.family,
            image=picture.image,
            places=picture.places,
            marks=picture.marks,
            question=question.text,
            answer=question.answer,
            targets=question.targets,
            rationale=question.rationale,
            boxes_original=tuple(picture.places[t].gold_box for t in question.targets),
            tags={
                "looks": "two" if two_looks else "one",
                "kind": question.kind,
                "face": picture.face,
                "size": f"{width}x{height}",
                "places": str(len(picture.places)),
            },
        )
        for turn, question in enumerate(asked)
    )


def draw_picture(
    seed: int, picture_index: int, split: str, config: WorldConfig
) -> tuple[places.Picture, bool]:
    """The picture and whether its questions need two looks."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    rng = np.random.default_rng([seed, SPLITS.index(split), picture_index, _PICTURE])
    held_out = split == "test"
    fonts = faces.TEST_FACES if held_out else faces.TRAIN_FACES
    two_looks = bool(rng.random() < config.two_look_share)
    low, high = config.print.heights
    brief = Brief(
        face=fonts[rng.integers(len(fonts))],
        digit_height=int(rng.integers(low, high + 1)),
        print=config.print,
        held_out=held_out,
        small=two_looks,
        clutter=bool(rng.random() < config.clutter_share),
    )
    family = config.families[picture_index % len(config.families)]
    return FAMILIES[family](rng, brief), two_looks


def _ask_all(
    rng: np.random.Generator, picture: places.Picture, two_looks: bool, count: int
) -> list[questions.Asked]:
    """`count` questions that go round the places before they come back to one."""
    order = [int(place) for place in rng.permutation(len(picture.places))]
    targets = [order[turn % len(order)] for turn in range(count)]
    if not two_looks:
        return [questions.ask_one(rng, picture, target) for target in targets]
    others = [order[(turn + 1 + turn // len(order)) % len(order)] for turn in range(count)]
    return [questions.ask_two(rng, picture, pair) for pair in zip(targets, others)]
