"""What both sides do in the benchmarks of rollout and update: the script of 40 episodes.

Eight questions of five episodes each. An episode is three turns of 32 sampled tokens; after the
first and the second a box is looked at, whatever the model wrote:

    prompt 322 | turn 32 | look 66 | turn 32 | look 66 | turn 32        550 tokens in all

A look inserts its crop of 224x224 pixels: vision_start, 64 image tokens, vision_end.
"""

import numpy as np

from benchmarks import mini
from r3jax import patches
from r3jax.data import images
from r3jax.records import Region
from r3jax.update import objective

EPISODES = 5  # of each of mini.QUESTIONS questions
LOOKS = 2
TURNS = LOOKS + 1
TURN = 32  # tokens sampled in a turn
CROP_SIDE = 224  # pixels of an enlarged crop
CROP_TOKENS = (CROP_SIDE // patches.FACTOR) ** 2
LOOK_TOKENS = CROP_TOKENS + 2  # with its frame
SAMPLED = TURNS * TURN  # tokens of an episode that are sampled
EPISODE_TOKENS = SAMPLED + LOOKS * LOOK_TOKENS
SIDES = (48, 336)  # pixels: the least and the most that a box is wide or high


def rows() -> list[tuple[int, int]]:
    """Question and episode of each row of a step."""
    return [(q, e) for q in range(mini.QUESTIONS) for e in range(EPISODES)]


def box(question: int, episode: int, look: int) -> tuple[int, int, int, int]:
    """The box of a look: x1, y1, x2, y2 in whole pixels, right and bottom exclusive.

    Every look has its own; those of even questions are squares.

    >>> box(0, 0, 0), box(1, 0, 0)
    ((79, 42, 372, 335), (200, 241, 384, 436))
    """
    rng = np.random.default_rng([question, episode, look])
    width, height = rng.integers(SIDES[0], SIDES[1] + 1, 2)
    if question % 2 == 0:
        height = width
    x, y = rng.integers(0, mini.IMAGE_SIDE + 1 - np.array([width, height]))
    return int(x), int(y), int(x + width), int(y + height)


def crop(image: np.ndarray, question: int, episode: int, look: int) -> np.ndarray:
    """What a look shows of the question's image, uint8 [CROP_SIDE, CROP_SIDE, 3], by LANCZOS."""
    return images.cut_crop(image, region(question, episode, look))


def region(question: int, episode: int, look: int) -> Region:
    """What a look shows of the question's image."""
    return Region(0, box(question, episode, look), CROP_SIDE, CROP_SIDE)


def sampled() -> np.ndarray:
    """Tokens for updates to train on, int32 [QUESTIONS, EPISODES, TURNS, TURN]."""
    shape = (mini.QUESTIONS, EPISODES, TURNS)
    return mini.words(int(np.prod(shape)), TURN, seed=2).reshape(*shape, TURN)


def rewards() -> np.ndarray:
    """float32 [QUESTIONS, EPISODES]: in each group the same rewards in another order."""
    one = np.linspace(0.0, 2.0, EPISODES, dtype=np.float32)
    return np.random.default_rng(3).permuted(np.tile(one, (mini.QUESTIONS, 1)), axis=1)


def advantages() -> np.ndarray:
    """Advantages within the groups of `rewards`, float32 [QUESTIONS, EPISODES]."""
    return objective.group_advantages(rewards(), np.ones((mini.QUESTIONS, EPISODES), bool))


def sequence(config, prompt: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """A prompt's ids int32 [P] with the turns so far [t, TURN], each followed by its look.

    The last of all TURNS has none. `config` is either side's.
    """
    parts = [prompt]
    for number, turn in enumerate(turns):
        parts.append(turn)
        if number < LOOKS:
            parts.append(_look(config))
    return np.concatenate(parts).astype(np.int32)


def is_sampled() -> np.ndarray:
    """Which tokens of a whole episode, its prompt included, are sampled: bool [P + T]."""
    mask = np.zeros(mini.PROMPT_TOKENS + EPISODE_TOKENS, bool)
    for turn in range(TURNS):
        begin = mini.PROMPT_TOKENS + turn * (TURN + LOOK_TOKENS)
        mask[begin : begin + TURN] = True
    return mask


def _look(config) -> np.ndarray:
    image = [config.image_token_id] * CROP_TOKENS
    return np.array([config.vision_start_token_id, *image, config.vision_end_token_id])
