"""Files in buckets are read, written and replaced as those on disks are."""

import contextlib
import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from r3jax import added, metrics, paths
from r3jax.checkpoint import directory, hf
from r3jax.checkpoint.errors import CheckpointError
from r3jax.data import image_sizes, images, sources
from r3jax.run import origins
from tests import fake_gcs, tiny


@pytest.fixture
def store():
    """What lies in the buckets: nothing yet."""
    store = fake_gcs.serving()
    store.objects.clear()
    return store


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path, store):
    """A directory that is not there yet, on a disk and in a bucket."""
    return paths.of(tmp_path / "run" if request.param == "disk" else "gs://bucket/run")


def test_the_lines_of_steps_are_there_once_whatever_was_killed(place):
    with metrics.MetricsWriter(place) as writer:
        for step in range(3):
            writer.write(step, {"loss": step / 3})
    writer = metrics.MetricsWriter(place, resume_step=2)
    writer.write(2, {"loss": 7.0})
    writer.write(3, {"loss": 8.0})
    writer.keep()  # killed here
    found = metrics.read(place / metrics.METRICS)
    assert [one["loss"] for one in found] == [0.0, 1 / 3, 7.0, 8.0]


def test_what_is_added_to_in_a_bucket_is_written_now_and_then(store, monkeypatch, capsys):
    path, now = paths.of("gs://bucket/added.txt"), [0.0]
    file = added.add_to(path, now=lambda: now[0])
    file.write("one\n")
    assert path.read_text() == ""
    now[0] += added.REWRITE_S
    file.write("two\n")
    assert path.read_text() == "one\ntwo\n"

    def fail(*args):
        raise RuntimeError("no network")

    now[0] += added.REWRITE_S
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "write_text", fail)
        file.write("three\n")  # which is tried again
        assert "added.txt: not written yet, tried again soon (no net" in capsys.readouterr().out
        with pytest.raises(RuntimeError, match="no network"):
            file.keep()
    file.close()
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_directory_is_replaced_as_a_whole_or_not_at_all(place):
    def write(text: str, fails: bool = False) -> None:
        with directory.replaced(place, mark="mark") as partial:
            (partial / "mark").write_text(text)
            (partial / f"{text}.txt").write_text(text)
            if fails:
                raise OSError("no space left")

    write("old")
    with pytest.raises(CheckpointError, match=r"no space left\. Nothing was replaced"):
        write("new", fails=True)
    assert sorted(path.name for path in place.iterdir()) == ["mark", "old.txt"]
    write("new")
    assert sorted(path.name for path in place.iterdir()) == ["mark", "new.txt"]
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    (place / "mark").unlink()
    with pytest.raises(CheckpointError, match="holds no mark, so it is not replaced"):
        write("newer")


def test_a_move_in_a_bucket_that_broke_off_is_finished_the_next_time(store, monkeypatch):
    place, moved = paths.of("gs://bucket/run"), []
    names = ["a.txt", "mark", "z.txt"]

    def write(text: str) -> None:
        with directory.replaced(place, mark="mark") as partial:
            for name in names:
                (partial / name).write_text(text)

    def move_one(source, target):
        if moved:
            raise OSError("the network is down")
        moved.append(target)
        move(source, target)

    write("old")
    move = paths.move_in_bucket
    with monkeypatch.context() as patch:
        patch.setattr(paths, "move_in_bucket", move_one)
        with pytest.raises(CheckpointError, match="is whole, but not in its place: run it again"):
            write("new")
    assert not (place / "mark").exists()
    with pytest.raises(ValueError), directory.replaced(place, mark="mark"):
        raise ValueError("the next one fails while it writes")
    assert [(place / name).read_text() for name in names] == ["new"] * 3
    write("newest")
    assert store.names("bucket") == [f"run/{name}" for name in names]
    assert (place / "z.txt").read_text() == "newest"


def test_a_folder_made_by_the_console_is_empty(store):
    store.put("bucket", "run/", b"")
    with directory.replaced(paths.of("gs://bucket/run"), mark="mark") as partial:
        (partial / "mark").write_text("whole")
    assert (paths.of("gs://bucket/run") / "mark").read_text() == "whole"


@pytest.mark.parametrize("name", ["gcs://bucket/run", "s3://bucket/run", "file:///tmp/run"])
def test_other_places_are_refused_rather_than_taken_for_folders(name):
    with pytest.raises(ValueError, match="expected a path on a disk, or in a bucket by gs://"):
        paths.of(name)


def test_names_in_buckets_that_would_be_patterns_are_refused():
    with pytest.raises(ValueError, match=r"names in buckets may not have \* \["):
        paths.of("gs://bucket/run[1*]")


def test_a_model_in_a_bucket_is_read_as_it_was_written(place):
    config, params = tiny.model().config, tiny.params()
    hf.save_hf(place / "model", config, params, max_shard_bytes=100_000)
    assert len([p for p in (place / "model").iterdir() if p.suffix == ".safetensors"]) > 1
    found = hf.load_hf(place / "model")
    assert found.config == config
    for (name, leaf), (_, other) in zip(
        *(sorted(hf.hf_table.flatten(tree).items()) for tree in (found.params, params)), strict=True
    ):
        np.testing.assert_array_equal(leaf, other, err_msg=str(name))
    before = origins.fingerprint_model(place / "model")
    weights = next(p for p in (place / "model").iterdir() if p.suffix == ".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert origins.fingerprint_model(place / "model") != before


def test_rows_in_a_bucket_have_their_images_beside_them(place):
    (place / "images").mkdir(parents=True)
    row = {"image_path": "images/0.png", "question": "?", "answer": "7", "source": "world"}
    (place / "rl.json").write_text(json.dumps([row]))
    with (place / "images" / "0.png").open("wb") as file:
        Image.fromarray(tiny.image(0)).save(file, "PNG")
    (found,) = sources.read_rl(str(place / "rl.json"))
    np.testing.assert_array_equal(images.open_image(found.image), tiny.image(0))
    assert image_sizes.read_size(found.image) == tiny.image(0).shape[:2]
    rotated = Image.Exif()
    rotated[ExifTags.Base.Orientation], rotated[ExifTags.Base.ImageDescription] = 6, "x" * 60_000
    with (place / "images" / "1.jpg").open("wb") as file:  # a header longer than what is read first
        Image.fromarray(tiny.image(0)[:60]).save(file, "JPEG", exif=rotated, comment="y" * 60_000)
    assert image_sizes.read_sizes([place / "images" / "1.jpg"]) == {
        place / "images" / "1.jpg": (tiny.image(0).shape[1], 60)
    }


@pytest.mark.parametrize("path", ["../other/1.png", "gs://bucket/other/1.png", "gs://other/1.png"])
def test_images_outside_the_data_folder_are_refused_in_buckets_too(store, path):
    with pytest.raises(images.ImageError, match="which lies outside"):
        images.locate(path, "gs://bucket/data")


def test_an_image_that_is_missing_in_a_bucket_is_named(store):
    with pytest.raises(images.ImageError, match=r"gs://bucket/none\.png: expected a file"):
        images.open_image("gs://bucket/none.png")


def test_what_writes_to_disks_alone_leaves_its_files_in_the_bucket(place):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(paths.on_disk(place / "profile"))
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "trace.txt").write_text("traced")
    assert (place / "profile" / "deep" / "trace.txt").read_text() == "traced"


def test_a_bucket_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(paths, "_has_gcsfs", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'r3jax\[gcs\]'"):
        paths.of("gs://bucket/run")
