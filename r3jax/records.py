"""The records that stages hand to each other: plain frozen dataclasses of NumPy arrays and strings.

A reader who knows these knows the system: data makes a `Question` and its `Prompt`, rollout adds
`Episode`s, reward turns the `Group` into a `ScoredGroup`, update packs it and learns from it.
SFT uses the same records: its `Episode` is written by a teacher instead of the policy.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels; the name of the variable says of which image (`box_resized`, ...)."""


class Source(enum.IntEnum):
    """Where a token of an episode came from, written down at the moment it is added.

    Only `SAMPLED` tokens are ever trained on. In SFT data the teacher's words count as sampled.
    """

    FORCED = 0  # put there by the system: frame of a crop, message about a failed look, masked text
    SAMPLED = 1  # chosen by the policy (or, in SFT, by the teacher)
    IMAGE = 2  # stands for one merged feature of an image


class LookOutcome(enum.StrEnum):
    """What became of a box that the model wrote."""

    OK = "ok"
    UNPARSABLE = "unparsable"
    WRONG_ARITY = "wrong_arity"
    NOT_NUMBERS = "not_numbers"
    SWAPPED = "swapped"
    OUTSIDE = "outside"
    TOO_SMALL = "too_small"
    TOO_THIN = "too_thin"
    DUPLICATE = "duplicate"
    NO_IMAGE = "no_image"
    TOO_MANY = "too_many"


class Stop(enum.StrEnum):
    """Why an episode ended."""

    ANSWER = "answer"  # wrote `</answer>`
    END = "end"  # sampled an end token without an answer
    LENGTH = "length"  # the token budget ran out: truncated
    TURNS = "turns"  # went on asking for looks after the last one allowed: over-turn


class Verdict(enum.StrEnum):
    """The judgement of an answer; UNKNOWN leaves the group's baseline and the loss."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Turn:
    """What one side of a conversation says: `role` is system, user or assistant, `parts` are texts
    and numbers of the question's images, in order."""

    role: str
    parts: tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about images, with the answer that the reward compares with.

    `images` are the originals, uint8 [height, width, 3]; looks are cut from `images[0]`. `turns`
    are the conversation so far, in which every image stands once, in order; without them it is one
    turn of the user: the images, then `text` and what the chat format says after a question.
    `answer` is None where nobody knows it (inference). `source` names the data set or the family
    of the look-again world; `tags` carries what reports group by (e.g. {"looks": "one"}).
    """

    id: str
    text: str
    images: tuple[np.ndarray, ...]
    answer: str | None = None
    source: str = ""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    turns: tuple[Turn, ...] = ()


class Region(NamedTuple):
    """A part of an image and the size to show it at.

    `image` numbers the image, `box` is x1, y1, x2, y2 in whole pixels of it, right and bottom
    exclusive; `height` and `width` are pixels, multiples of 28.
    """

    image: int
    box: tuple[int, int, int, int]
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Look:
    """One request for a closer view and what came of it.

    `text` is what the model wrote. Boxes are None unless they parsed. Where the outcome is OK,
    `region` is what is shown of the question's image and `cut` makes the crop of it; a crop that
    shows something else has no region. `features` [I, D] is what the vision tower made of it, where
    somebody kept it.
    """

    text: str
    outcome: LookOutcome
    box_resized: Box | None = None
    box_original: Box | None = None
    zoom: float | None = None
    region: Region | None = None
    cut: Callable[[], np.ndarray] | None = None
    features: np.ndarray | None = None

    @property
    def crop(self) -> np.ndarray | None:
        """What the model sees, uint8 [height, width, 3] with sides that are multiples of 28.

        Cut when somebody asks for it: a device that cuts regions itself never does. None unless
        the outcome is OK.
        """
        # No cached_property: in Python 3.11 all looks share its lock, and threads cut them.
        if self.cut is not None and "_crop" not in vars(self):
            vars(self)["_crop"] = self.cut()
        return vars(self).get("_crop")


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A question as the model sees it: token ids, positions, and images already resized.

    tokens int32 [P]; positions int32 [3, P] (M-RoPE: time, height, width); `images` uint8
    [height, width, 3], sides multiples of 28, in the order of their tokens. `next_position` is
    the M-RoPE position of the first token after the prompt. `features` [I, D] is what the vision
    tower made of the images, a row for each of their tokens, where somebody kept it.
    """

    tokens: np.ndarray
    positions: np.ndarray
    images: tuple[np.ndarray, ...]
    next_position: int
    features: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Episode:
    """What followed a prompt, token by token; nothing here is ever rendered and tokenised again.

    tokens int32 [T]; source int8 [T] (see `Source`); positions int32 [3, T]; logp float32 [T],
    natural log under the distribution that was sampled from (temperature included, no top-k or
    top-p cut), 0 where source is not SAMPLED. Image tokens of the crops of `looks` appear in
    order. `text` is derived for people and rewards: crops are left out of it.
    """

    tokens: np.ndarray
    source: np.ndarray
    positions: np.ndarray
    logp: np.ndarray
    looks: tuple[Look, ...]
    stop: Stop
    text: str
    answer: str | None

    @property
    def crops(self) -> tuple[np.ndarray, ...]:
        """The images whose tokens the episode holds, in order."""
        return tuple(look.crop for look in self.looks if look.cut is not None)


@dataclasses.dataclass(frozen=True)
class Group:
    """One question and its G episodes: the prompt exists once."""

    question: Question
    prompt: Prompt
    episodes: tuple[Episode, ...]


@dataclasses.dataclass(frozen=True)
class ScoredGroup:
    """A group with its rewards.

    `terms` maps each reward term to float32 [G]; `reward` is their sum, float32 [G]; `verdicts`
    has one entry an episode; `counted` bool [G] is False for episodes that leave the group's mean
    and std and the loss (unknown verdicts, and by config over-turn and truncated ones).
    """

    group: Group
    terms: Mapping[str, np.ndarray]
    reward: np.ndarray
    verdicts: tuple[Verdict, ...]
    counted: np.ndarray
