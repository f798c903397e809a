"""The demonstration with tiny numbers, from nothing to the report; a mixed run compiles once."""

import json
import re
import shutil

import jax
import numpy as np
import pytest

import r3jax
from configs import look_again as experiment_file
from r3jax import config as config_lib
from r3jax import metrics
from r3jax.data import chat, looks, vlir
from r3jax.data.world import generate, pretrain
from r3jax.records import LookOutcome
from r3jax.reward.terms import RewardConfig
from r3jax.run import evaluate, experiment, look_again, newborn, rgrpo, train
from r3jax.update import pack
from tests.run import loops

NAMES = {"chance", "base", "sft", "rgrpo", "no_crop", "blank_crop", "shuffled"}
FAMILIES = {"scene", "sign", "chart", "document"}
SHAPE = newborn.Shape(2, 32, 2, 1, 64, (2, 3, 3), 20.0, 2, 32, 2, 64, (1,))
ROWS, QUESTIONS, EPISODES = 16, 4, 2
WORLD = {"two_look_share": 0.5, "questions_per_image": 2}
SIZES = (experiment_file.ONE_LOOK, experiment_file.TWO_LOOKS)


def rgrpo_config(steps: int, suffix: tuple[int, ...]) -> dict:
    """The demonstration's R-GRPO in small: its buckets of tokens, fewer rows."""
    crops = QUESTIONS * EPISODES
    return {
        **experiment_file.get_config().to_dict()["rgrpo"],
        "steps": steps,
        "buckets": experiment_file.buckets(QUESTIONS, crops, suffix),
        "rollout": {"questions": QUESTIONS, "episodes": EPISODES},
        "checkpoint": {"every": 20, "keep": 1},
    }


def sft_config(steps: int, suffix: tuple[int, ...]) -> dict:
    values = experiment_file.sft(steps, ROWS, suffix, 2 * ROWS)
    values["optimizer"] |= {"learning_rate": 1e-2, "schedule": "constant"}
    return values


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A new model, as the pre-training writes it before its first step."""
    form = experiment.load(loops.ROOT / "configs" / "look_again_base.py")["form"]
    world = config_lib.build(generate.WorldConfig, WORLD)
    samples = [
        sample
        for number in range(150)
        for sample in generate.samples_of_picture(0, number, "train", world)
    ]
    texts = [looks.message(one) for one in LookOutcome if one is not LookOutcome.OK] * 100
    texts += [
        text
        for sample in samples
        for text in (sample.question, *sample.rationale, *pretrain.sentences(sample))
    ]
    images = [np.ascontiguousarray(sample.image[:112, :112]) for sample in samples[::30]]
    directory = tmp_path_factory.mktemp("base") / "model"
    return newborn.write(
        directory, SHAPE, config_lib.build(chat.ChatFormat, form), texts, images, seed=0
    )


@pytest.fixture(scope="module")
def demonstration(base, tmp_path_factory):
    """The config of a tiny demonstration, and the workdir where it was run."""
    config = experiment_file.get_config().to_dict() | {
        "base": str(base),
        "counts": {"sft": ROWS, "rl": 24, "valid": 8, "test": 16},
        "world": WORLD,
        "noise": {"off_share": 0.0},
        "sft": sft_config(80, SIZES),
        "no_crop": sft_config(2, (16,)),
        "rgrpo": rgrpo_config(2, SIZES[-1:]),
        "eval_buckets": experiment_file.buckets(8, 8, SIZES[-1:]),
        "eval_batch": 8,
        "traces": 2,
    }
    workdir = tmp_path_factory.mktemp("demonstration")
    train.train(config, workdir)
    return config, workdir


def test_results_hold_every_model_mode_and_count(demonstration):
    results = json.loads((demonstration[1] / "results.json").read_text())
    assert set(results) == NAMES
    for name, modes in results.items():
        assert set(modes) == {"greedy", "temperature_1"}
        for found in modes.values():
            assert all(0 <= found[key] <= 1 for key in ("one_look", "two_look", "all"))
            counts = found["counts"]
            assert counts["one_look"] + counts["two_look"] == counts["all"] == found["count"] == 16
            if name == "chance":
                continue
            assert set(found["families"]) == FAMILIES
            for key, (low, high) in found["intervals"].items():
                assert 0 <= low <= found[key] <= high <= 1
    assert 0 < results["chance"]["greedy"]["all"] < 0.5


def test_the_report_is_one_file_with_tables_curves_and_traces(demonstration):
    page = (demonstration[1] / "report" / "index.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?!data:|#|[\"'])", page)
    assert page.count("data:image/") >= 2 and "<svg" in page
    assert all(name in page for name in NAMES)
    assert "log-prob" in page  # of every sampled token
    terms = config_lib.build(RewardConfig, demonstration[0]["rgrpo"]["reward"]).weights()
    assert all(f"<span>{name}<b>" in page for name in terms) and "reward<b>" in page
    assert "valid loss" in page  # the held-out curve of SFT


def test_the_export_is_the_last_model(demonstration):
    found = r3jax.from_pretrained(demonstration[1] / "export")
    last = r3jax.from_pretrained(demonstration[1] / "rgrpo" / "export")
    assert jax.tree.all(jax.tree.map(np.array_equal, found.params, last.params))
    assert found.tokenizer.vocab_size == last.tokenizer.vocab_size


def test_the_outcome_is_told_in_a_line():
    shares = {"sft": {"one_look": 0.5}, "rgrpo": {"one_look": 0.9375}}
    results = {name: {"greedy": found} for name, found in shares.items()}
    assert look_again.told(results) == "one look: 0.500 after SFT, 0.938 after R-GRPO"


def test_a_second_run_does_nothing_again(demonstration):
    config, workdir = demonstration
    before = stamps(workdir)
    train.train(config, workdir)
    assert stamps(workdir) == before


def test_evaluations_that_were_cut_off_are_asked_for_the_rest_alone(demonstration):
    config, workdir = demonstration
    lost = [workdir / "results.json", workdir / "evaluations" / "sft_greedy.json"]
    before, texts = stamps(workdir / "evaluations"), [path.read_text() for path in lost]
    for path in lost:
        path.unlink()
    train.train(config, workdir)
    assert [path.read_text() for path in lost] == texts
    after = stamps(workdir / "evaluations")
    assert {path for path in after if after[path] != before[path]} == {lost[1]}


def test_a_world_of_another_seed_is_not_taken_for_this_one(demonstration, tmp_path):
    config, workdir = demonstration
    shutil.copytree(workdir / "data", tmp_path / "data")
    with pytest.raises(ValueError, match="holds a world whose seed is 0, asked for is 1"):
        train.train(config | {"seed": 1}, tmp_path)
    with pytest.raises(ValueError, match=r"sft\.seed is filled in by the demonstration, found 3"):
        train.read(config | {"sft": config["sft"] | {"seed": 3}})


def stamps(workdir) -> dict:
    """When each file was written; the config is written at every start."""
    files = (path for path in workdir.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if path.name != train.FILE_NAME}


def test_shuffled_questions_come_from_another_image_of_the_same_family(demonstration):
    test = demonstration[1] / "data" / "test.json"
    rows, _ = vlir.read_rl(test, test.parent)
    # Two images of one family and one of another, which has none to exchange with.
    rows = [r for r in rows if r.source in ("scene", "sign")]
    scenes = [r for r in rows if r.source == "scene"]
    rows = scenes + [r for r in rows if r.source == "sign"][:2]
    questions = list(evaluate.Questions(rows, chat.ChatFormat()))
    shuffled = look_again.shuffle_questions(rows, questions, seed=0)
    images = {r.question: r.image for r in scenes}
    assert len({r.image for r in scenes}) == 2 and len(images) == len(scenes)
    for row, question, one in zip(rows, questions, shuffled):
        assert (one.id, one.answer) == (question.id, question.answer)
        if row.source == "scene":
            assert images[one.text] != row.image
        else:
            assert one.text == question.text


@pytest.mark.slow
def test_a_mixed_run_compiles_nothing_after_its_second_step(demonstration, tmp_path, monkeypatch):
    """One and two looks, images of several sizes, short and long episodes, checkpoints."""
    _, workdir = demonstration
    shapes = []

    def pack_scored(*args):
        batch = original(*args)
        shapes.append(batch.suffix.targets.shape)
        return batch

    original = pack.pack_scored
    monkeypatch.setattr(pack, "pack_scored", pack_scored)
    rows = ask_what_was_taught(workdir / "data")
    assert {row["tags"]["looks"] for row in rows} == {"one", "two"}
    assert len({row["tags"]["size"] for row in rows}) > 1
    values = rgrpo_config(50, SIZES) | {
        "model": str(workdir / "sft" / "export"),
        "data": str(workdir / "data" / "taught.json"),
    }
    # It stays near what it was taught, so that short and long episodes go on coming.
    values["rollout"] |= {"sampling": {"temperature": 0.5}}
    values["optimizer"] |= {"learning_rate": 1e-7}
    config = config_lib.build(rgrpo.RgrpoRunConfig, values)
    rgrpo.run(config, tmp_path)
    compiles = [line["compiles"] for line in metrics.read(tmp_path / metrics.TIMINGS)]
    assert len(compiles) == 50 and compiles[0] > 0
    assert compiles[1:] == compiles[1:2] * 49
    assert {shape[-1] for shape in shapes} == set(SIZES)


def ask_what_was_taught(data) -> list[dict]:
    """Writes the questions of sft.json, which the model has seen answered, in RL format."""
    rows = [
        {
            **{name: row[name] for name in ("id", "image_path", "question", "tags")},
            "answer": chat.answer_in(row["response_list"][-1]),
            "source": row["tags"]["family"],
        }
        for row in json.loads((data / "sft.json").read_text())
    ]
    (data / "taught.json").write_text(json.dumps(rows))
    return rows
