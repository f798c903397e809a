"""Small records for the reward and view tests."""

import numpy as np

from r3jax.records import Episode, Group, Look, LookOutcome, Prompt, Question, Source, Stop

BOX = '{"bbox_2d": [28, 28, 112, 84]}'


def make_question(answer="A", source="", text="Which letter is on the red card?", **fields):
    image = np.full((252, 336, 3), 230, np.uint8)
    image[60:160, 80:220] = (200, 60, 50)
    return Question(fields.pop("id", "q1"), text, (image,), answer, source, **fields)


def make_look(outcome=LookOutcome.OK):
    if outcome is not LookOutcome.OK:
        return Look(BOX, outcome)
    crop = np.full((56, 84, 3), 180, np.uint8)
    return Look(BOX, outcome, (28, 28, 112, 84), (56, 56, 224, 168), 2.0, cut=crop.copy)


def make_episode(text, looks=(), stop=Stop.ANSWER, answer="A"):
    """An episode of ten tokens: six sampled, three of a crop, one forced."""
    source = np.array([1, 1, 1, 0, 2, 2, 2, 1, 1, 1], np.int8)
    size = len(source)
    return Episode(
        tokens=np.arange(size, dtype=np.int32),
        source=source,
        positions=np.tile(np.arange(size, dtype=np.int32), (3, 1)),
        logp=np.where(source == Source.SAMPLED, -0.5, 0).astype(np.float32),
        looks=tuple(looks),
        stop=stop,
        text=text,
        answer=answer,
    )


def make_group(episodes, question=None):
    prompt = Prompt(np.zeros(4, np.int32), np.zeros((3, 4), np.int32), (), 4)
    return Group(question or make_question(), prompt, tuple(episodes))


def thought(inside, answer="A"):
    return f"<think>{inside}</think><answer>{answer}</answer>"
