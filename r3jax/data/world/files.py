"""The world as files: PNG images, VLIR-format SFT JSON, RL JSON, and `meta.json`.

    directory/
      images/train-00000000.png ...     crops/train-0-12_0.png ...
      sft.json  rl.json  valid.json  test.json  meta.json

`sft` and `rl` are drawn from the training split, `rl` from the pictures after those of `sft`. `sft`
and `valid` hold a teacher's traces, `rl` and `test` questions with their answers.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from r3jax import paths
from r3jax.data import frames, images, looks, vlir
from r3jax.data.world import faces, layouts
from r3jax.data.world.generate import SPLITS, WorldConfig, samples_of_picture
from r3jax.data.world.noise import Lesson, NoiseConfig, teach
from r3jax.data.world.places import Sample

FILES: Mapping[str, str] = {"sft": "train", "rl": "train", "valid": "valid", "test": "test"}
"""The JSON files that can be written, and the split that each is drawn from."""

TAUGHT = ("sft", "valid")
"""Those that hold traces."""

_TEACHER = 2  # stream of random numbers, beside those of `generate`
_LOOK_RULES = looks.LookRules(crop=frames.PixelBounds.of_tokens(4, 1024))  # published code, RL


def write_world(
    directory: str | pathlib.Path,
    seed: int,
    counts: Mapping[str, int],
    config: WorldConfig | None = None,
    noise: NoiseConfig | None = None,
) -> Mapping:
    """Write `counts` = {"sft": n, "rl": n, "valid": n, "test": n} samples; returns the meta data.

    Any of the four may be left out. `meta.json` is written last: a directory without it is not
    whole. Equal arguments give equal files.
    """
    config, noise = config or WorldConfig(), noise or NoiseConfig()
    unknown = set(counts) - set(FILES)
    if unknown:
        raise ValueError(f"counts may name {tuple(FILES)}, got {sorted(unknown)}")
    directory = paths.of(directory)
    for folder in ("images", "crops"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name in counts:
        rows = []
        for sample in draw_samples(name, seed, counts, config):
            image_path = _save_image(directory, sample, seed, config)
            if name in TAUGHT:
                rows.append(_sft_row(directory, sample, image_path, noise))
            else:
                rows.append(rl_row(sample, image_path))
            digest.update(sample.image[::16, ::16].tobytes())
        text = json.dumps(rows, indent=0)
        digest.update(text.encode())
        (directory / f"{name}.json").write_text(text, "utf-8")
    meta = _describe(seed, counts, config, noise, digest.hexdigest())
    (directory / "meta.json").write_text(json.dumps(meta, indent=2), "utf-8")
    return meta


def draw_samples(
    name: str, seed: int, counts: Mapping[str, int], config: WorldConfig
) -> Iterator[Sample]:
    """The samples of one file, picture by picture."""
    each = config.questions_per_image
    start = -(-counts.get("sft", 0) // each) if name == "rl" else 0
    left, picture = counts[name], start
    while left > 0:
        samples = samples_of_picture(seed, picture, FILES[name], config)[:left]
        yield from samples
        left -= len(samples)
        picture += 1


def teach_sample(sample: Sample, noise: NoiseConfig) -> Lesson:
    """The teacher's trace of a sample, drawn from the sample's own seed, split and index."""
    split, seed, index = sample.id.rsplit("-", 2)
    rng = np.random.default_rng([int(seed), SPLITS.index(split), int(index), _TEACHER])
    return teach(rng, sample, noise)


def rl_row(sample: Sample, image_path: str) -> dict:
    """A row of an RL or evaluation file; `gold_boxes` are JSON, pixels of the original image."""
    return {
        "id": sample.id,
        "image_path": image_path,
        "question": sample.question,
        "answer": sample.answer,
        "source": sample.family,
        "tags": {**sample.tags, "gold_boxes": json.dumps(sample.boxes_original)},
    }


def _sft_row(directory: pathlib.Path, sample: Sample, image_path: str, noise: NoiseConfig) -> dict:
    lesson = teach_sample(sample, noise)
    height, width = sample.image.shape[:2]
    frame = frames.Frame.fit(height, width, vlir.VLIR_BOUNDS)
    crops, earlier = [], []
    for turn, segment in enumerate(lesson.segments[:-1]):
        look = looks.take_look(segment, sample.image, frame, earlier, _LOOK_RULES)
        path = f"crops/{sample.id}_{turn}.png"
        (directory / path).write_bytes(images.to_png(look.crop))
        crops.append(path)
        earlier.append(look)
    return {
        "id": sample.id,
        "image_path": image_path,
        "question": sample.question,
        "response_list": list(lesson.segments),
        "img_crop_list": crops,
        "train_list": list(lesson.trained),
        "tags": {**sample.tags, "family": sample.family},
    }


def _save_image(directory: pathlib.Path, sample: Sample, seed: int, config: WorldConfig) -> str:
    """Save a sample's picture unless the sample before it did; its path in the directory."""
    index = int(sample.id.rsplit("-", 1)[1])
    picture, turn = divmod(index, config.questions_per_image)
    path = f"images/{sample.split}-{seed}-{picture:07d}.png"
    if turn == 0:
        (directory / path).write_bytes(images.to_png(sample.image))
    return path


def _describe(
    seed: int, counts: Mapping[str, int], config: WorldConfig, noise: NoiseConfig, digest: str
) -> Mapping:
    """What `meta.json` holds: enough to make the same world again and to know what is held out."""
    return {
        "seed": seed,
        "counts": dict(counts),
        "world": dataclasses.asdict(config),
        "noise": dataclasses.asdict(noise),
        "fonts": {
            "train": [face.name for face in faces.TRAIN_FACES],
            "test": [face.name for face in faces.TEST_FACES],
        },
        "layouts": {
            "rule": "test where the CRC-32 of the layout's line is divisible by the number below",
            "held_out_one_in": layouts.HELD_OUT_OF,
        },
        "fingerprint": digest,
    }
