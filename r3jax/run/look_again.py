"""The demonstration: a small model learns to look again, from data to report, in one command.

    world -> SFT -> R-GRPO -> evaluations -> results.json, report/index.html, export/
               \\-> the controls: trained without looking, crops blanked, questions shuffled

Every stage is done once: a run that was stopped goes on where it was.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from r3jax.buckets import Buckets
from r3jax.data import vlir
from r3jax.data.world import files, generate, noise
from r3jax.evaluate import look_again
from r3jax.records import Question
from r3jax.rollout import engine
from r3jax.run import evaluate, pretrained, rgrpo, sft, showcase

MODES = {"greedy": 0.0, "temperature_1": 1.0}


@dataclasses.dataclass(frozen=True)
class LookAgainConfig:
    """The whole demonstration, from the model directory `base`.

    `counts` says how many samples of sft, rl, valid and test are drawn with `seed`; `sft`,
    `no_crop` and `rgrpo` are those of their loops, whose `model` and `data` are filled in here.
    """

    base: str
    counts: Mapping[str, int]
    world: generate.WorldConfig
    noise: noise.NoiseConfig
    sft: sft.SftConfig
    no_crop: sft.SftConfig
    rgrpo: rgrpo.RgrpoRunConfig
    eval_buckets: Buckets
    eval_batch: int = 64
    seed: int = 0
    traces: int = 12


def run(config: LookAgainConfig, workdir: str | Path) -> Path:
    """Runs what is not done yet; returns the path of results.json."""
    workdir = Path(workdir)
    path = workdir / "results.json"
    if path.is_file():
        return path
    data = write_data(config, workdir / "data")
    taught = _stage(sft, config.sft, config, config.base, data / "sft.json", workdir / "sft")
    blind = _stage(
        sft, config.no_crop, config, config.base, data / "no_crop.json", workdir / "no_crop"
    )
    final = _stage(rgrpo, config.rgrpo, config, taught, data / "rl.json", workdir / "rgrpo")
    models = {"base": config.base, "sft": taught, "rgrpo": final, "no_crop": blind}
    results = evaluate_all(config, models, data / "test.json")
    showcase.write(config, workdir, results)
    shutil.copytree(final, workdir / "export", dirs_exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    partial.replace(path)  # last: where it stands, everything is there
    return path


def write_data(config: LookAgainConfig, directory: Path) -> Path:
    """Writes the world once, and the control's rows: the same questions, answered unseen."""
    if not (directory / "meta.json").is_file():
        files.write_world(directory, config.seed, config.counts, config.world, config.noise)
    for name in ("sft", "valid_sft"):
        if not (directory / f"{name}.json").is_file():
            continue
        rows = json.loads((directory / f"{name}.json").read_text("utf-8"))
        blind = json.dumps([_without_looking(row) for row in rows])
        target = name.replace("sft", "no_crop")
        (directory / f"{target}.json").write_text(blind, "utf-8")
    return directory


def _without_looking(row: Mapping) -> dict:
    """The row with its answer alone: no thought, no box, no crop."""
    answer = row["response_list"][-1].partition("<answer>")[2].partition("</answer>")[0]
    told = f"<answer>{answer}</answer>"
    return {**row, "response_list": [told], "img_crop_list": [], "train_list": [True]}


def _stage(loop, stage, config: LookAgainConfig, model, data: Path, workdir: Path) -> Path:
    """Runs a loop of training unless its export is there."""
    export = workdir / "export"
    if (export / "config.json").is_file():
        return export
    filled = dataclasses.replace(stage, model=str(model), data=str(data), seed=config.seed)
    return loop.run(filled, workdir, title=workdir.name)


def evaluate_all(config: LookAgainConfig, models: Mapping[str, str | Path], test: Path) -> dict:
    """Asks every model every held-out question in both modes; adds the controls and chance."""
    rows, _ = vlir.read_rl(test, test.parent)
    evaluate.check_rows(rows)
    loaded = {name: pretrained.load(path) for name, path in models.items()}
    start = loaded["rgrpo"]
    questions = list(evaluate.Questions(rows, start.form))
    shuffled = shuffle_questions(rows, questions, config.seed)
    results: dict = {"chance": dict.fromkeys(MODES, look_again.chance(rows))}
    for mode, temperature in MODES.items():
        eng = evaluate.make_engine(start, config.eval_buckets, temperature, config.eval_batch)
        asked = {name: (one.params, questions, False) for name, one in loaded.items()}
        asked["blank_crop"] = (start.params, questions, True)
        asked["shuffled"] = (start.params, shuffled, False)
        for name, (params, given, blank) in asked.items():
            how = dataclasses.replace(eng.config, blank_crops=blank)
            asking: engine.Engine = dataclasses.replace(eng, config=how)
            found = evaluate.evaluate(asking, params, given, config.seed)[1]
            results.setdefault(name, {})[mode] = found
    return results


def shuffle_questions(
    rows: Sequence[vlir.RlRow], questions: list[Question], seed: int
) -> list[Question]:
    """Each image with the questions of another image of its family, and its own answers' key.

    The question asked is foreign; right is what the image's own question asks for. Whoever still
    answers rightly did not need the question. A family with a single image keeps its questions.
    """
    rng = np.random.default_rng(seed)
    families: dict[str, dict[Path, list[int]]] = {}
    for number, row in enumerate(rows):
        families.setdefault(row.source, {}).setdefault(row.image_path, []).append(number)
    shuffled = list(questions)
    for pictures in families.values():
        order = [list(pictures.values())[i] for i in rng.permutation(len(pictures))]
        for own, foreign in zip(order, order[1:] + order[:1]):
            for turn, number in enumerate(own):
                text = questions[foreign[turn % len(foreign)]].text
                shuffled[number] = dataclasses.replace(questions[number], text=text)
    return shuffled
