"""The world on disk: VLIR JSON, TFDS records, a teacher's mistakes, perception tasks."""

import json
import pathlib

import numpy as np
import pytest

from r3jax import config
from r3jax.data import chat, frames, images, looks, vlir, world
from r3jax.data.world import files, noise, pretrain, questions, shapes
from r3jax.run import experiment

ROOT = pathlib.Path(__file__).parents[2]
COUNTS = {"sft": 10, "rl": 5, "test": 6}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world")
    return directory, files.write_world(directory, 3, COUNTS)


def test_files_are_read_back_as_they_were_drawn(written):
    directory, meta = written
    rows, _ = vlir.read_sft(directory / "sft.json", directory)
    assert len(rows) == 10 and meta["counts"] == COUNTS
    sample = world.sample(3, 9, "train")
    assert rows[9].question == sample.question and rows[9].num_crops == len(sample.targets)
    assert (images.open_image(rows[9].image) == sample.image).all()
    for row in json.loads((directory / "sft.json").read_text()):
        assert all((directory / crop).is_file() for crop in row["img_crop_list"])
    tests, _ = vlir.read_rl(directory / "test.json", directory)
    gold = json.loads(tests[5].tags["gold_boxes"])
    assert [tuple(box) for box in gold] == list(world.sample(3, 5, "test").boxes_original)


def test_rl_never_sees_a_picture_of_sft(written):
    directory, _ = written
    paths = {
        name: {row["image_path"] for row in json.loads((directory / f"{name}.json").read_text())}
        for name in COUNTS
    }
    assert not paths["sft"] & paths["rl"] and not paths["sft"] & paths["test"]


def test_the_fingerprint_follows_the_seed_and_nothing_else(written, tmp_path):
    _, meta = written
    assert files.write_world(tmp_path / "a", 3, COUNTS)["fingerprint"] == meta["fingerprint"]
    assert files.write_world(tmp_path / "b", 4, COUNTS)["fingerprint"] != meta["fingerprint"]
    with pytest.raises(ValueError, match=r"counts may name .*, got \['dev'\]"):
        files.write_world(tmp_path / "c", 3, {"dev": 1})


def test_a_loose_box_holds_the_place_and_shows_its_print_no_larger_than_the_prompt():
    loose = noise.NoiseConfig(off_share=0.0, loose_families=("sign",), loose_share=1.0)
    base = experiment.load(ROOT / "configs" / "look_again_base.py")["form"]
    form = config.build(chat.ChatFormat, base)
    half = world.WorldConfig(two_look_share=0.5)
    signs = {1: 0, 2: 0}
    for index in range(160):
        sample = world.sample(2, index, "train", half)
        lesson = files.teach_sample(sample, loose)
        if sample.family != "sign":
            assert lesson.segments == sample.rationale and all(lesson.trained)
            continue
        signs[len(sample.targets)] += 1
        assert len(set(lesson.boxes_original)) == len(sample.targets)
        height, width = sample.image.shape[:2]
        frame = frames.Frame.fit(height, width, form.image_bounds)
        for turn, (target, box) in enumerate(zip(sample.targets, lesson.boxes_original)):
            assert noise.contains(box, sample.places[target].gold_box)
            assert noise.contains((0, 0, width, height), box) and not lesson.trained[turn + 1]
            assert lesson.segments[turn].endswith(questions.box_text(box))
            shown = frames.plan_crop(frame, box, form.look_rules.crop)
            assert shown.width / (box[2] - box[0]) <= frame.resized_width / width
    assert min(signs.values()) > 5


def test_each_look_of_a_trace_is_loose_or_exact_by_itself():
    mixed = noise.NoiseConfig(off_share=1.0, loose_families=("sign",), loose_share=0.5)
    twice, seen = world.WorldConfig(two_look_share=1.0), set()
    for index in range(160):
        sample = world.sample(2, index, "train", twice)
        lesson = files.teach_sample(sample, mixed)
        height, width = sample.image.shape[:2]
        golds = [sample.places[target].gold_box for target in sample.targets]
        loose = [noise.loosen(gold, height, width) for gold in golds]
        is_loose = tuple(box == wide for box, wide in zip(lesson.boxes_original, loose))
        if sample.family != "sign" or not any(is_loose):
            continue  # shifted
        seen.add(is_loose)
        assert lesson.trained[1:] == tuple(not each for each in is_loose)
        exact = [box for box, each in zip(lesson.boxes_original, is_loose) if not each]
        assert exact == [gold for gold, each in zip(golds, is_loose) if not each]
    assert seen == {(True, False), (False, True), (True, True)}


def test_a_shifted_box_that_misses_the_print_leaves_the_answer_untrained():
    half, off = world.WorldConfig(two_look_share=0.5), noise.NoiseConfig(off_share=1.0)
    missed = 0
    for index in range(0, 200, 3):
        sample = world.sample(2, index, "train", half)
        lesson = files.teach_sample(sample, off)
        assert lesson.trained[0] and len(set(lesson.boxes_original)) == len(sample.targets)
        height, width = sample.image.shape[:2]
        for turn, (target, box) in enumerate(zip(sample.targets, lesson.boxes_original)):
            place = sample.places[target]
            assert box != place.gold_box and noise.contains((0, 0, width, height), box)
            shift = np.subtract(box, place.gold_box)
            assert not (shift % 21).any() and abs(shift).max() <= 126
            assert lesson.trained[turn + 1] == noise.contains(box, place.plate_box)
            assert looks.parse_box(lesson.segments[turn]).box == box
            missed += not lesson.trained[turn + 1]
    assert missed > 30
    assert files.teach_sample(sample, noise.NoiseConfig(0.0)).segments == sample.rationale


def test_perception_tasks_speak_of_the_resized_image():
    sample = world.sample(6, 0, "train")  # a scene
    rng = np.random.default_rng(0)
    frame = frames.Frame.fit(*sample.image.shape[:2], frames.PixelBounds(784, 112 * 112))
    caption = pretrain.caption(sample, frame).answer.split("\n")
    assert len(caption) == len(sample.places)
    for line, place in zip(caption, sample.places):
        assert line.startswith(f"row {place.row}, column {place.column}: {place.title} ")
        assert looks.parse_box(line).box == tuple(value / 3 for value in place.gold_box)
    located = pretrain.locate(rng, sample, frame)
    assert located.prompt.startswith("Where is the ") and "bbox_2d" in located.answer
    assert pretrain.name(rng, sample).answer.startswith("a ")
    told = pretrain.tell(rng, sample, frame)
    first, _, second = told.prompt.removeprefix("What and where are ")[:-1].partition(" and ")
    assert told.answer.lower().index(first) < told.answer.lower().index(second)
    assert told.answer.count("bbox_2d") == told.answer.count("It is a ") == 2
    for one in pretrain.sums(rng, sample).answer[:-1].split(". "):
        added, total = one.split(" = ")
        assert sum(map(int, added.split(" + "))) == int(total)
    read = pretrain.read(rng, sample, frame, frames.PixelBounds(784, 56 * 56))
    assert read.image.shape == (56, 56, 3)
    assert int(read.answer[len("It says ") : -1]) in [place.number for place in sample.places]


def test_dense_labels_name_what_stands_in_each_cell():
    sample = world.sample(6, 0, "train")
    labels = pretrain.dense_labels(sample)
    assert labels.place.sum() == len(sample.places)
    for place in sample.places:
        cell = place.row - 1, place.column - 1
        assert list(world.COLOURS)[labels.colour[cell] - 1] == place.colour
        assert shapes.SHAPES[labels.shape[cell] - 1] == place.shape
