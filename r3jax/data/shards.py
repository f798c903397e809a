"""A TFDS data set in ArrayRecord files, written shard by shard: what is killed goes on.

    writer = shards.Writer(directory, "train", count=3)
    while len(writer.done) < writer.count:
        writer.write(examples_of(len(writer.done)), left_out=[])
    writer.finish("where it is from", {"fingerprint": "..."})

Each shard is written aside and renamed, then `shards.jsonl` says what it holds; `dataset_info.json`
comes last, and a folder without it is no data set yet. Equal examples give equal files.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping

import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from r3jax import added, lines, paths
from r3jax.data import array_records

NAME = "vlir"
LOG = "shards.jsonl"
_FORMAT = tfds.core.FileFormat.ARRAY_RECORD


@dataclasses.dataclass(frozen=True)
class Shard:
    """What a finished shard holds: so many records, in so many bytes of examples, and why rows
    that belong into it were left out."""

    number: int
    records: int
    num_bytes: int
    left_out: tuple[str, ...]


class Writer:
    """Writes the `count` shards of a split in order, going on behind those that are there.

    Raises: ValueError where these are shards of another count.
    """

    def __init__(self, directory: pathlib.Path, split: str, count: int):
        if paths.in_bucket(directory):
            raise ValueError(f"{directory}: ArrayRecord files are written to disks alone")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.split, self.count = directory, split, count
        self.features = tfds.features.FeaturesDict(dict(array_records.FEATURES))
        self._serializer = tfds.core.example_serializer.ExampleSerializer(
            self.features.get_serialized_info()
        )
        self.done = _read(directory / LOG)
        for shard in self.done:
            if not self._path(shard.number).is_file():
                raise ValueError(
                    f"{directory} was begun with another number of rows than there are now: have "
                    "images come or gone? Name a new output"
                )

    @property
    def is_finished(self) -> bool:
        """Whether the data set is whole."""
        return (self.directory / "dataset_info.json").is_file()

    def write(self, examples: Iterable[Mapping], left_out: list[str]) -> None:
        """Writes the next shard; `left_out` is read when all examples have come."""
        number, sizes = len(self.done), []
        path = self._path(number)
        aside = path.with_name(f"{path.name}.partial")

        def serialized() -> Iterable[tuple[str, bytes]]:
            for example in examples:
                encoded = self.features.encode_example(example)
                sizes.append(len(data := self._serializer.serialize_example(encoded)))
                yield "", data

        file_adapters.ADAPTER_FOR_FORMAT[_FORMAT].write_examples(aside, serialized())
        aside.replace(path)
        shard = Shard(number, len(sizes), sum(sizes), tuple(left_out))
        log = added.add_to(self.directory / LOG)
        log.write(json.dumps(dataclasses.asdict(shard), ensure_ascii=False) + "\n")
        log.close()
        self.done.append(shard)

    def _path(self, number: int) -> pathlib.Path:
        name = f"{NAME}-{self.split}.array_record-{number:05d}-of-{self.count:05d}"
        return self.directory / name

    def finish(self, description: str, metadata: Mapping[str, object]) -> None:
        """Says what the data set is, which makes it one."""
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.directory,
            dataset_name=NAME,
            split=self.split,
            filetype_suffix="array_record",
        )
        split = tfds.core.SplitInfo(
            name=self.split,
            shard_lengths=[shard.records for shard in self.done],
            num_bytes=sum(shard.num_bytes for shard in self.done),
            filename_template=template,
        )
        tfds.folder_dataset.write_metadata(
            data_dir=self.directory,
            features=self.features,
            split_infos=[split],
            filename_template=template,
            check_data=False,
            description=description,
            metadata=tfds.core.MetadataDict(metadata),
        )


def _read(path: pathlib.Path) -> list[Shard]:
    """The shards that are done; what a kill tore off is cut off."""
    values = lines.restore(path)
    return [Shard(**{**one, "left_out": tuple(one["left_out"])}) for one in values]
