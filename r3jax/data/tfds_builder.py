"""The look-again world as a TFDS data set in ArrayRecord files, written without TensorFlow.

builder = LookAgainWorld(data_dir="data", seed=0, counts={"sft": 4000, "rl": 2000})
builder.download_and_prepare()
print(f"{builder.data_path}:sft")       # what `data` of a config names
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

import tensorflow_datasets as tfds

from r3jax.data import array_records
from r3jax.data.world import files, generate, noise
from r3jax.data.world.places import Sample


class LookAgainWorld(tfds.core.GeneratorBasedBuilder):
    """The look-again world; `counts` samples of the splits "sft", "rl", "valid" and "test".

    Every combination of seed, counts, world and noise has a folder of its own under `data_dir`.
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
        config = tfds.core.BuilderConfig(name=f"seed-{seed}-{self._digest()}", version=self.VERSION)
        super().__init__(config=config, file_format=tfds.core.FileFormat.ARRAY_RECORD, **kwargs)

    def _digest(self) -> str:
        """A name for everything but the seed that the records depend on."""
        made_of = (self.counts, dataclasses.asdict(self.world), dataclasses.asdict(self.mistakes))
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(dict(array_records.FEATURES))
        description = "Drawn images whose questions are answered only by a closer look."
        return tfds.core.DatasetInfo(builder=self, description=description, features=features)

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        return {name: self._generate_examples(name) for name in self.counts}

    def _generate_examples(self, name: str) -> Iterator[tuple[str, dict]]:
        for sample in files.draw_samples(name, self.seed, self.counts, self.world):
            yield sample.id, self._example(sample, taught=name in files.TAUGHT)

    def _example(self, sample: Sample, taught: bool) -> dict:
        row = files.rl_row(sample, "")
        lesson = files.teach_sample(sample, self.mistakes) if taught else None
        return array_records.encode(
            id=sample.id,
            image=sample.image,
            question=sample.question,
            answer=sample.answer,
            source=sample.family,
            segments=lesson.segments if lesson else (),
            trained=lesson.trained if lesson else (),
            num_crops=len(lesson.segments) - 1 if lesson else 0,
            tags=row["tags"],
        )
