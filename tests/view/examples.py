"""A drawn question with a teacher-like episode, for the view tests."""

from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from r3jax.records import Episode, Look, LookOutcome, Question, Source, Stop

BOXES = ((48.0, 28.0, 132.0, 84.0), (150.0, 110.0, 210.0, 150.0))
CARDS = (("#c0392b", (96, 56, 264, 168), "47"), ("#2c6e9e", (300, 220, 420, 300), "83"))


def draw_image():
    """Two coloured cards with small numbers, uint8 [336, 448, 3]."""
    picture = Image.new("RGB", (448, 336), "#efece4")
    pen = ImageDraw.Draw(picture)
    for colour, (x1, y1, x2, y2), number in CARDS:
        pen.rounded_rectangle((x1, y1, x2, y2), 8, fill=colour)
        pen.text(((x1 + x2) / 2, (y1 + y2) / 2), number, "white", anchor="mm")
    return np.asarray(picture)


def make_example(question="What is the sum of the numbers on the two cards?", think=""):
    """A question and an episode with two looks that worked and one that did not, and its tokens."""
    image = draw_image()
    looks = [
        Look(
            "",
            LookOutcome.OK,
            box,
            tuple(2 * side for side in box),
            2.0,
            cut=partial(_crop, image, box),
        )
        for box in BOXES
    ]
    looks.insert(1, Look("", LookOutcome.SWAPPED, (90.0, 80.0, 20.0, 30.0)))
    words = [
        ("<think>", "The ", "cards ", "are ", "too ", "small ", "to ", "read. ", think),
        ('{"bbox_2d": ', "[48, 28, 132, 84]", "}"),
        ("The ", "red ", "card ", "says ", "47. "),
        ('{"bbox_2d": ', "[90, 80, 20, 30]", "}"),
        ('{"bbox_2d": ', "[150, 110, 210, 150]", "}"),
        ("The ", "blue ", "card ", "says ", "83. ", "47 + 83 = 130.", "</think>", "\n"),
        ("<answer>", "130", "</answer>"),
    ]
    between = {1: Source.IMAGE, 3: Source.FORCED, 4: Source.IMAGE}
    texts, source = [], []
    for index, part in enumerate(words):
        texts += part
        source += [Source.SAMPLED] * len(part)
        if between.get(index) is Source.IMAGE:
            texts += ["\n", *["<|image_pad|>"] * 6, "\n"]
            source += [Source.FORCED, *[Source.IMAGE] * 6, Source.FORCED]
        elif between.get(index) is Source.FORCED:
            texts.append(" (No view: a box needs x1 < x2 and y1 < y2.) ")
            source.append(Source.FORCED)
    source = np.array(source, np.int8)
    size = len(source)
    logp = -np.abs(np.random.default_rng(0).normal(0, 0.5, size)).astype(np.float32)
    episode = Episode(
        tokens=np.arange(size, dtype=np.int32),
        source=source,
        positions=np.tile(np.arange(size, dtype=np.int32), (3, 1)),
        logp=np.where(source == Source.SAMPLED, logp, 0).astype(np.float32),
        looks=tuple(looks),
        stop=Stop.ANSWER,
        text="".join(t for t, s in zip(texts, source) if s != Source.IMAGE),
        answer="130",
    )
    return Question("cards-17", question, (image,), "130", "cards"), episode, texts


def _crop(image, box_resized):
    x1, y1, x2, y2 = (int(2 * side) for side in box_resized)
    picture = Image.fromarray(image[y1:y2, x1:x2])
    size = tuple(max(28, round(side / 28) * 28) for side in picture.size)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


TERMS = {"accuracy": 1.0, "format": 1.0, "region": 0.5, "length": 0.072}


def make_curves(steps=120):
    """Two stages of made-up metrics."""
    rng = np.random.default_rng(1)
    sft = [{"step": s, "loss": 3 * np.exp(-s / 15) + 0.2 + 0.05 * rng.random()} for s in range(80)]
    rgrpo = []
    for step in range(steps):
        rise = 1 - np.exp(-step / 40)
        rgrpo.append(
            {
                "step": step,
                "reward": 1.1 + 1.2 * rise + 0.15 * rng.normal(),
                "accuracy": float(np.clip(0.45 + 0.5 * rise + 0.08 * rng.normal(), 0, 1)),
                "reward/accuracy": 0.45 + 0.5 * rise,
                "reward/format": 0.8 + 0.2 * rise,
                "reward/region": 0.2 + 0.25 * rise,
                "reward/length": 0.1,
                "looks_per_answer": 0.9 + 0.3 * rise + 0.05 * rng.normal(),
                "tool_rate": 0.9 + 0.08 * rise,
                "text_after_look": 0.95,
                "closed_thoughts": 1.0,
                "kl": 0.002 * step / steps,
                "learning_rate": 1e-6,
            }
        )
    return {"SFT": sft, "R-GRPO": rgrpo}
