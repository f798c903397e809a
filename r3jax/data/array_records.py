"""Rows with their images in ArrayRecord files, through TFDS and without TensorFlow.

A record holds one row of `vlir` (a trace, or a question with its answer) and its image as PNG:
`FEATURES` and `encode` are what a builder writes, `read_sft` and `read_rl` what training reads.
"""

import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow_datasets as tfds

from r3jax import paths
from r3jax.data import images, vlir

FEATURES: Mapping[str, Any] = {
    "id": tfds.features.Text(),
    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
    "question": tfds.features.Text(),
    "answer": tfds.features.Text(),
    "source": tfds.features.Text(),
    "segments": tfds.features.Sequence(tfds.features.Text()),
    "trained": tfds.features.Sequence(np.bool_),
    "num_crops": np.int32,
    "tags": tfds.features.Text(),
}
"""What a record holds: `segments`, `trained` and `num_crops` of a trace; `tags` as JSON."""


@dataclasses.dataclass(frozen=True)
class RecordImage(images.StoredImage):
    """The image of record `number` of a split, read when it is asked for."""

    directory: Path
    split: str
    number: int
    records: Sequence[Mapping] = dataclasses.field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.directory}:{self.split}, record {self.number}"

    def stream(self) -> BinaryIO:
        """The PNG file that the record holds."""
        return io.BytesIO(self.records[self.number]["image"])


def encode(
    id: str,
    image: np.ndarray,
    question: str,
    answer: str = "",
    source: str = "",
    segments: Sequence[str] = (),
    trained: Sequence[bool] = (),
    num_crops: int = 0,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A record for a TFDS builder; the image goes in encoded, as an array would need TensorFlow."""
    return {
        "id": id,
        "image": io.BytesIO(images.to_png(image)),
        "question": question,
        "answer": answer,
        "source": source,
        "segments": list(segments),
        "trained": list(trained),
        "num_crops": num_crops,
        "tags": json.dumps(dict(tags or {})),
    }


def read_sft(directory: Path, split: str) -> list[vlir.SftRow]:
    """The traces of a split; RowError or ValueError where there are none or one is bad."""
    return list(_read(directory, split, vlir.sft_row))


def read_rl(directory: Path, split: str) -> list[vlir.RlRow]:
    """The questions with answers of a split; otherwise as `read_sft`."""
    return list(_read(directory, split, vlir.rl_row))


def _read(directory: Path, split: str, make_row: Callable) -> Iterator:
    records = _open(directory, split)
    for number in range(len(records)):
        image = RecordImage(directory, split, number, records)
        yield make_row(str(image), _row_of(records[number]), image)


def _open(directory: Path, split: str) -> Sequence[Mapping]:
    """Random access to the records of a split, their images left encoded."""
    if paths.in_bucket(directory):
        raise ValueError(
            f"{directory}: ArrayRecord files are read from disks alone: copy the data set to one, "
            "or keep rows in a .jsonl file beside their images"
        )
    try:
        builder = tfds.builder_from_directory(directory)
    except (OSError, ValueError, tfds.core.DatasetNotFoundError) as error:
        raise ValueError(
            f"{directory} holds no TFDS data set: expected the folder of a version, with "
            f"dataset_info.json ({error})"
        ) from error
    if split not in builder.info.splits:
        raise ValueError(f"{directory} has no split {split!r}: it has {list(builder.info.splits)}")
    if missing := set(FEATURES) - set(builder.info.features):
        raise ValueError(
            f"{directory}: records lack {', '.join(sorted(missing))}: they hold "
            f"{', '.join(builder.info.features)}; write them with r3jax.data.array_records.encode"
        )
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def _row_of(record: Mapping) -> dict[str, Any]:
    """A record as the row of a JSON file."""
    return {
        **{name: record[name].decode() for name in ("id", "question", "answer", "source")},
        "response_list": [text.decode() for text in record["segments"]],
        "train_list": [bool(flag) for flag in record["trained"]],
        "img_crop_list": [""] * int(record["num_crops"]),
        "tags": json.loads(record["tags"].decode()),
    }
