"""Rows from files and from ArrayRecord: the same lessons, told apart by the name alone."""

import json

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from r3jax.data import (
    array_records,
    chat,
    frames,
    image_sizes,
    looks,
    pipelines,
    sources,
    traces,
)
from r3jax.data.tfds_builder import LookAgainWorld
from r3jax.data.vlir import RowError
from r3jax.data.world import files
from tests.data.released import QWEN

FORM = chat.ChatFormat(
    None,
    "",
    frames.PixelBounds.of_tokens(1, 16),
    looks.LookRules(frames.PixelBounds.of_tokens(1, 4)),
)
COUNTS = {"sft": 8, "rl": 6}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same world as JSON files and as a TFDS data set: names without the split."""
    directory = tmp_path_factory.mktemp("world")
    files.write_world(directory / "files", 3, COUNTS)
    builder = LookAgainWorld(data_dir=directory, seed=3, counts=COUNTS)
    builder.download_and_prepare()
    return directory / "files", builder.data_path


def by_id(rows) -> list:
    return sorted(rows, key=lambda row: row.id)  # TFDS shuffles what it writes


def test_grain_draws_the_same_lessons_from_files_and_from_array_records(both):
    folder, records = both
    drawn = []
    for name in (f"{folder}/sft.json", f"{records}:sft"):
        rows = by_id(sources.read_sft(name))
        lengths = [pipelines.episode_length(row, QWEN, FORM) for row in rows]
        plan = pipelines.BatchPlan(pipelines.by_length(lengths, (96, 256)), 3, seed=1)
        stream = pipelines.stream(
            plan, lambda i, rows=rows: pipelines.load_sft(rows[i], QWEN, FORM)
        )
        drawn.append([next(stream) for _ in range(4)])
    first, second = map(flatten, drawn)
    assert len(first) == len(second) == 12
    for one, other in zip(first, second, strict=True):
        assert (one.question.id, one.question.text) == (other.question.id, other.question.text)
        jax.tree.map(
            np.testing.assert_array_equal, pixels_and_tokens(one), pixels_and_tokens(other)
        )


def flatten(batches):
    return [item for batch in batches for item in batch]


def pixels_and_tokens(item):
    episode = item.episode
    crops = [look.crop for look in episode.looks]
    return item.question.images, item.prompt.tokens, episode.tokens, episode.source, crops


def test_questions_are_the_same_from_files_and_from_array_records(both):
    folder, records = both
    asked = [by_id(sources.read_rl(name)) for name in (f"{folder}/rl.json", f"{records}:rl")]
    assert len(asked[0]) == len(asked[1]) == COUNTS["rl"]
    for row, record in zip(*asked, strict=True):
        one, other = (traces.load_question(r, FORM.image_bounds) for r in (row, record))
        assert (one.images[0] == other.images[0]).all()
        assert (one.text, one.answer, one.source, one.tags) == (
            other.text,
            other.answer,
            other.source,
            other.tags,
        )
        assert image_sizes.read_size(record.image) == one.images[0].shape[:2]


def test_every_world_has_a_folder_of_its_own(tmp_path):
    paths = {
        str(LookAgainWorld(data_dir=tmp_path, seed=seed, counts=counts).data_path)
        for seed in (0, 1)
        for counts in (COUNTS, {"test": 3})
    }
    assert len(paths) == 4


class Foreign(tfds.core.GeneratorBasedBuilder):
    """A data set with records of its own, and one of ours whose row is bad."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, features, example, **kwargs):
        self._features, self._example = features, example
        super().__init__(file_format=tfds.core.FileFormat.ARRAY_RECORD, **kwargs)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(self._features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield "0", self._example


def write(directory, features, example) -> str:
    builder = Foreign(features, example, data_dir=directory)
    builder.download_and_prepare()
    return str(builder.data_path)


def test_what_is_no_data_set_is_refused_by_name(both, tmp_path):
    folder, records = both
    with pytest.raises(ValueError, match=f"{records} is a directory: name a file, or the split"):
        sources.read_rl(str(records))
    with pytest.raises(ValueError, match=r"has no split 'dev': it has \['sft', 'rl'\]"):
        sources.read_rl(f"{records}:dev")
    with pytest.raises(ValueError, match=f"{folder} holds no TFDS data set"):
        sources.read_sft(f"{folder}:sft")
    other = write(tmp_path / "other", {"id": tfds.features.Text()}, {"id": "a"})
    with pytest.raises(ValueError, match=r"records lack answer, .*trained: they hold id; write"):
        sources.read_rl(f"{other}:train")


def test_a_bad_record_is_named_by_its_number(tmp_path):
    grey = np.zeros((28, 28, 3), np.uint8)
    record = array_records.encode("a", grey, "Why?", answer=" ")
    name = write(tmp_path, dict(array_records.FEATURES), record)
    with pytest.raises(RowError, match=r":train, record 0: expected the right answer as 'answer'"):
        sources.read_rl(f"{name}:train")
    with pytest.raises(RowError, match=r":train, record 0: 'response_list' must hold at least one"):
        sources.read_sft(f"{name}:train")


def test_tags_and_segments_survive(both):
    folder, records = both
    written = {row["id"]: row for row in json.loads((folder / "sft.json").read_text())}
    for row in sources.read_sft(f"{records}:sft"):
        assert list(row.segments) == written[row.id]["response_list"]
        assert list(row.trained) == written[row.id]["train_list"]
        assert row.num_crops == len(written[row.id]["img_crop_list"])
        assert row.tags["looks"] == written[row.id]["tags"]["looks"]
