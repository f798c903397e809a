"""The look-again world as a TFDS data set in ArrayRecord files, written without TensorFlow.

    builder = LookAgainWorld(data_dir="data", seed=0, counts={"sft": 4000, "test": 500})
    builder.download_and_prepare()
    source = builder.as_data_source(split="sft")     # random access, feeds Grain
    row_of(source[0])

Images go in as encoded PNG, not as arrays: encoding arrays would need TensorFlow.
"""

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from r3jax.data.world import files, generate, noise
from r3jax.data.world.places import Sample


@dataclasses.dataclass(frozen=True)
class Row:
    """One record: `segments` and `trained` are empty unless a teacher's trace goes with it."""

    id: str
    image: np.ndarray
    question: str
    answer: str
    segments: tuple[str, ...]
    trained: tuple[bool, ...]
    source: str
    tags: Mapping[str, str]


class LookAgainWorld(tfds.core.GeneratorBasedBuilder):
    """The look-again world; `counts` samples of the splits "sft", "rl", "valid" and "test".

    Each combination of seed, counts, world and noise needs a `data_dir` of its own: TFDS tells
    data sets apart by name and version only.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Four families, held-out fonts, layouts."}

    def __init__(
        self,
        *,
        seed: int = 0,
        counts: Mapping[str, int] | None = None,
        world: generate.WorldConfig | None = None,
        mistakes: noise.NoiseConfig | None = None,
        **kwargs,
    ):
        self.seed = seed
        self.counts = dict(counts or {"sft": 4000, "rl": 2000, "valid": 500, "test": 1000})
        self.world = world or generate.WorldConfig()
        self.mistakes = mistakes or noise.NoiseConfig()
        super().__init__(file_format=tfds.core.FileFormat.ARRAY_RECORD, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "question": tfds.features.Text(),
                "answer": tfds.features.Text(),
                "segments": tfds.features.Sequence(tfds.features.Text()),
                "trained": tfds.features.Sequence(np.bool_),
                "source": tfds.features.Text(),
                "tags": tfds.features.Text(),
            }
        )
        description = "Drawn images whose questions are answered only by a closer look."
        return tfds.core.DatasetInfo(builder=self, description=description, features=features)

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        return {name: self._generate_examples(name) for name in self.counts}

    def _generate_examples(self, name: str) -> Iterator[tuple[str, dict]]:
        for sample in files.draw_samples(name, self.seed, self.counts, self.world):
            yield sample.id, self._example(sample, taught=name == "sft")

    def _example(self, sample: Sample, taught: bool) -> dict:
        lesson = files.teach_sample(sample, self.mistakes) if taught else None
        return {
            "id": sample.id,
            "image": _encode(sample.image),
            "question": sample.question,
            "answer": sample.answer,
            "segments": list(lesson.segments) if lesson else [],
            "trained": list(lesson.trained) if lesson else [],
            "source": sample.family,
            "tags": json.dumps(files.rl_row(sample, "")["tags"]),
        }


def row_of(record: Mapping) -> Row:
    """A record of `as_data_source` with its text decoded, as Grain's `map` wants it."""
    texts = {name: _text(record[name]) for name in ("id", "question", "answer", "source")}
    return Row(
        image=record["image"],
        segments=tuple(_text(segment) for segment in record["segments"]),
        trained=tuple(bool(flag) for flag in record["trained"]),
        tags=json.loads(_text(record["tags"])),
        **texts,
    )


def _encode(image: np.ndarray) -> io.BytesIO:
    """The image as a PNG file in memory."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    stream.seek(0)
    return stream


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
