"""Pre-training from nothing: lessons, dense labels, and a run that gives a model directory."""

import dataclasses

import jax
import numpy as np
import pytest

from r3jax import config as config_lib
from r3jax import patches
from r3jax.data import chat, frames, looks
from r3jax.data.world import lessons
from r3jax.run import pretrain, pretrained, profiler

FORM = {
    "system": None,
    "instruction": "",
    "image_bounds": {"min_pixels": 784, "max_pixels": 16 * 784},
    "look_rules": {"crop": {"min_pixels": 784, "max_pixels": 4 * 784}},
}
SHAPE = {
    "text_layers": 1,
    "text_width": 32,
    "text_heads": 2,
    "text_kv_heads": 1,
    "text_mlp": 32,
    "mrope_section": (2, 3, 3),
    "rope_theta": 1e4,
    "vision_depth": 1,
    "vision_width": 32,
    "vision_heads": 2,
    "vision_mlp": 32,
    "full_attention_blocks": (0,),
}


def settings(steps: int, vision: bool = True) -> pretrain.PretrainConfig:
    def buckets(prompt: int, suffix: int, rows: int, slots: int) -> dict:
        images = ({"rows": rows, "windows": 1, "slots": slots},)
        return {
            "prompt_tokens": (prompt,),
            "suffix_tokens": (suffix,),
            "look_tokens": 16,
            "images": images,
            "crops": ({"rows": 1, "windows": 1, "slots": 16},),
        }

    tasks = {"name": 1.0, "where": 1.0, "locate": 1.0}
    values = {
        "shape": SHAPE,
        "form": FORM,
        "plan": {"pictures": 2, "per_picture": 2, "prints": 2, "pool": 8},
        "stages": (
            {"steps": 2, "tasks": tasks},
            {"steps": steps - 2, "tasks": {"caption": 1.0}, "vision": vision},
        ),
        "scene_buckets": buckets(64, 320, 2, 64),
        "print_buckets": buckets(40, 16, 2, 16),
        "optimizer": {"learning_rate": 1e-2, "frozen": ()},
        "tokenizer_samples": 200,
        "valid_every": 2,
        "checkpoint": {"every": 2, "keep": 1},
    }
    return config_lib.build(pretrain.PretrainConfig, values)


def test_a_run_gives_a_model_that_can_be_asked_and_goes_on_where_it_stopped(tmp_path):
    config = settings(steps=4)
    whole = pretrain.run(config, tmp_path / "whole", profile=2)  # which changes nothing
    model = pretrained.load(whole)
    assert model.form == config.form and model.config.tie_word_embeddings
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4 and '"valid/exact/where"' in lines[1]
    table = (tmp_path / "whole" / profiler.FOLDER / profiler.TABLE).read_text()
    assert "programs were compiled" in table  # the second stage's, in the third step
    assert all(f"| {name} " in table for name in ("data", "log-probs", "update", "checkpoint"))
    pretrain.run(settings(steps=2 + 1), tmp_path / "parts")
    pretrain.run(config, tmp_path / "parts")
    assert (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines() == lines


def test_a_tower_that_stands_still_keeps_every_bit_while_the_decoder_learns(tmp_path):
    def train(steps: int, vision: bool) -> dict:
        config = dataclasses.replace(settings(steps, vision), valid_every=100)
        return pretrained.load(pretrain.run(config, tmp_path / f"{steps}_{vision}")).params

    before, after, learnt = train(2, True), train(4, False), train(4, True)
    same = jax.tree.map(np.array_equal, before, after)
    assert jax.tree.all(same["vision"]) and not any(jax.tree.leaves(same["text"]["layers"]))
    assert not any(jax.tree.leaves(jax.tree.map(np.array_equal, before, learnt)["vision"]))


@pytest.fixture(scope="module")
def teacher() -> lessons.Teacher:
    form = chat.ChatFormat(
        None, "", frames.PixelBounds(784, 16 * 784), looks.LookRules(frames.PixelBounds(784, 3136))
    )
    return lessons.Teacher(lessons.LessonPlan(pictures=3, prints=2, pool=20), None, form)


def test_labels_say_what_stands_where(teacher):
    for number in range(8):
        sample, shown, _ = teacher._picture(number)
        labels, named = lessons.scene_labels(sample), lessons.scene_words(sample)
        rows, columns = patches.merged_grid(shown.shape)
        assert named.shape == (rows * columns, len(lessons.WORDS))
        assert labels["row"].tolist() == np.repeat(np.arange(rows) + 1, columns).tolist()
        assert labels["column"].tolist() == list(range(1, columns + 1)) * rows
        assert (labels["tens"] == lessons.NO_LABEL).all()
        for place in sample.places:
            token = (place.row - 1) * columns + place.column - 1
            words = {w for w, yes in zip(lessons.WORDS, named[token]) if yes}
            told = " ".join(n for k, n in place.words.items() if k not in ("cell", "position"))
            assert words == set(lessons.WORDS) & set(told.split())
        assert named.any(-1).sum() == len(sample.places)


def test_an_unknown_lesson_is_refused(teacher):
    with pytest.raises(ValueError, match="there is no lesson 'sing'"):
        lessons._ask(np.random.default_rng(0), "sing", *teacher._picture(0)[::2])
