"""Conversion keeps every row and goes on after a kill to the same bytes."""

import dataclasses
import json

import numpy as np
import pytest

from launch import build_vlir
from r3jax.data import images, shards, sources, traces, vlir
from r3jax.run import convert_rows, inspect_rows
from tests.curate import files

OPTIONS = inspect_rows.Options()


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def data(tmp_path):
    rows = files.world(tmp_path / "data")
    path = tmp_path / "data/vlir.json"
    path.write_text(json.dumps([*rows[:7], files.changed(rows[0], question=7), *rows[7:]]))
    return path


def test_records_hold_the_rows_with_their_pixels(data, tmp_path):
    made = convert_rows.convert(data, tmp_path / "records", OPTIONS, "sft", shard_rows=5)
    assert made.records == 12 and len(made.left_out) == 1 and "row 7" in made.left_out[0]
    rows, _ = vlir.read_sft(data, data.parent, strict=False)
    kept = ("id", "question", "segments", "trained", "num_crops", "tags")
    for row, record in zip(rows, sources.read_sft(made.name), strict=True):
        assert [getattr(row, name) for name in kept] == [getattr(record, name) for name in kept]
        pixels = [images.open_image(one.image) for one in (row, record)]
        assert np.array_equal(*pixels)
    questions = convert_rows.convert(data.with_name("rl.json"), tmp_path / "rl", OPTIONS)
    expected, _ = vlir.read_rl(data.with_name("rl.json"), data.parent)
    found = sources.read_rl(questions.name)
    assert [(r.id, r.answer, r.source) for r in found] == [
        (r.id, r.answer, r.source) for r in expected
    ]


def test_boxes_meant_for_images_of_another_size_are_rewritten(data, tmp_path):
    """336 x 252 stays as large in VLIR's frame, and is 308 x 224 with at most 100 tokens."""
    options = dataclasses.replace(OPTIONS, tokens=(4, 100))
    made = convert_rows.convert(data, tmp_path / "records", options)
    small, _ = vlir.read_sft(data, data.parent, options.boxes_in, strict=False)
    by_id = {row.id: row for row in small}
    records = sources.read_sft(made.name)
    assert len(records) > 6  # boxes of the others lie outside, then
    for record in records:
        row = by_id[record.id]
        assert record.segments == traces.load_trace(row, vlir.VLIR_BOUNDS).segments
        assert record.segments != row.segments


@pytest.mark.parametrize("moment", ["inside a shard", "before its line", "in its line", "at last"])
def test_a_conversion_killed_anywhere_goes_on_to_the_same_bytes(
    data, tmp_path, moment, monkeypatch
):
    convert_rows.convert(data, tmp_path / "whole", OPTIONS, shard_rows=4)
    output = tmp_path / "killed"
    with monkeypatch.context() as patch:
        kill(patch, moment)
        with pytest.raises(KeyboardInterrupt):
            convert_rows.convert(data, output, OPTIONS, shard_rows=4)
    begun = content(output)
    if moment == "in its line":
        (output / shards.LOG).write_bytes(begun[shards.LOG][:-9])
    assert not (output / "dataset_info.json").exists()
    first = "vlir-train.array_record-00000-of-00003"
    before = (output / first).stat().st_mtime_ns
    assert convert_rows.convert(data, output, OPTIONS, shard_rows=4).records == 12
    assert content(output) == content(tmp_path / "whole")
    assert (output / first).stat().st_mtime_ns == before, "a finished shard was written again"


def kill(patch, moment: str) -> None:
    """Ends the process, as it were, in the second shard or behind the last."""
    counted = iter(range(100))

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    if moment == "inside a shard":
        encode = convert_rows._encode
        patch.setattr(
            convert_rows, "_encode", lambda r: stop() if next(counted) == 6 else encode(r)
        )
    elif moment == "before its line":
        add_to = shards.added.add_to
        patch.setattr(shards.added, "add_to", lambda p: stop() if next(counted) else add_to(p))
    else:
        patch.setattr(shards.Writer, "finish", stop)


def test_an_output_of_other_rows_or_settings_is_refused(data, tmp_path, capsys):
    output = tmp_path / "records"
    convert_rows.convert(data, output, OPTIONS)
    with pytest.raises(ValueError, match=r"tokens was .*4, 2048.* is .*4, 48"):
        convert_rows.convert(data, output, dataclasses.replace(OPTIONS, tokens=(4, 48)))
    rows = json.loads(data.read_text())
    data.write_text(json.dumps(rows[:3]))
    assert build_vlir.main(["convert", str(data), f"--output={output}"]) == 1
    assert "was begun with other settings: content was" in capsys.readouterr().err


def test_a_file_without_good_rows_and_a_strict_conversion_say_what_is_bad(data, tmp_path):
    with pytest.raises(vlir.RowError, match="row 7: expected text as 'question'"):
        convert_rows.convert(data, tmp_path / "a", dataclasses.replace(OPTIONS, strict=True))
    data.write_text("[]")
    with pytest.raises(ValueError, match="has no good row"):
        convert_rows.convert(data, tmp_path / "b", OPTIONS)


def test_a_picture_damaged_behind_its_header_is_left_out_and_told(data, tmp_path):
    row = json.loads(data.read_text())[0]
    picture = data.parent / row["image_path"]
    picture.write_bytes(picture.read_bytes()[:2000])
    made = convert_rows.convert(data, tmp_path / "records", OPTIONS, shard_rows=6)
    lost = [told for told in made.left_out if "expected a whole image" in told]
    assert len(lost) == 4 and made.records == 8  # four rows show this picture
    assert len(sources.read_sft(made.name)) == 8
