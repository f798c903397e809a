"""The demonstration: a small model learns to look again, from data to report, in one command.

    world -> SFT -> R-GRPO -> evaluations -> results.json, report/index.html, export/
               \\-> the controls: trained without looking, crops blanked, questions shuffled

Every stage is done once: a run that was stopped goes on where it was.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from r3jax import hosts, paths
from r3jax.buckets import Buckets
from r3jax.checkpoint import directory as directories
from r3jax.data import looks, vlir
from r3jax.data.images import ImageSource
from r3jax.data.world import files, generate, noise
from r3jax.evaluate import look_again
from r3jax.records import Question
from r3jax.rollout import engine
from r3jax.run import evaluate, pretrained, rgrpo, sft, showcase

MODES = {"greedy": 0.0, "temperature_1": 1.0}
RESULTS = "results.json"


@dataclasses.dataclass(frozen=True)
class LookAgainConfig:
    """The whole demonstration, from the model directory `base`.

    `counts` says how many samples of sft, rl, valid and test are drawn with `seed`; `sft`,
    `no_crop` and `rgrpo` are those of their loops, whose `model`, `data`, `valid_data` and `seed`
    are filled in here.
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

    def __post_init__(self):
        for name in ("sft", "no_crop", "rgrpo"):
            for field in ("model", "data", "valid_data", "seed", "adapters"):
                if given := getattr(getattr(self, name), field, None):
                    raise ValueError(
                        f"{name}.{field} is filled in by the demonstration, found {given!r}: leave "
                        "it empty; base and seed of the whole are what can be chosen"
                    )


def run(config: LookAgainConfig, workdir: str | Path, profile: int | None = None) -> Path:
    """Runs what is not done yet; returns the path of results.json.

    `profile` is how many steps of each stage to time (`run/profiler.py`).
    """
    workdir = paths.of(workdir)
    path = workdir / RESULTS
    if path.is_file():
        return path
    data = write_data(config, workdir / "data")
    taught = _stage("sft", config, config.base, workdir, profile)
    blind = _stage("no_crop", config, config.base, workdir, profile)
    final = _stage("rgrpo", config, taught, workdir, profile)
    models = {"base": config.base, "sft": taught, "rgrpo": final, "no_crop": blind}
    if hosts.leads():  # questions are asked on a device of one host
        with hosts.apart():
            _conclude(config, workdir, models, data / "test.json")
    hosts.wait("results")
    return path


def _conclude(
    config: LookAgainConfig, workdir: Path, models: Mapping[str, str | Path], test: Path
) -> None:
    """Evaluates what was trained, and writes what all comes to."""
    print(f"asking {', '.join(models)} and the controls {config.counts['test']} questions each")
    results = evaluate_all(config, models, test, workdir / "evaluations")
    showcase.write(config, workdir, results)
    with directories.replaced(workdir / "export", mark="config.json") as export:
        paths.copy_tree(paths.of(models["rgrpo"]), export)
    # Last: where it stands, everything is there.
    paths.write_whole(workdir / RESULTS, _as_json(results))
    print(f"{told(results)}; report: {workdir / 'report' / 'index.html'}")


def told(results: Mapping) -> str:
    """The outcome in one line: greedy accuracies after SFT and after R-GRPO."""
    parts = []
    for key in ("one_look", "two_look"):
        sft, final = (results[name]["greedy"].get(key) for name in ("sft", "rgrpo"))
        if sft is not None:
            parts.append(f"{key.replace('_', ' ')}: {sft:.3f} after SFT, {final:.3f} after R-GRPO")
    return "; ".join(parts)


def write_data(config: LookAgainConfig, directory: Path) -> Path:
    """Writes the world once.

    Raises: ValueError where the directory holds another world.
    """
    meta = directory / "meta.json"
    if hosts.leads() and not meta.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        files.write_world(directory, config.seed, config.counts, config.world, config.noise)
    hosts.wait("world")
    _check_world(config, meta)
    return directory


def write_unseen(data: Path, name: str) -> Path:
    """Writes the control's rows of a file of traces, the same questions, answered unseen; returns
    their file."""
    target = data / f"no_crop_{name}.json"
    if hosts.leads():
        rows = json.loads((data / f"{name}.json").read_text("utf-8"))
        target.write_text(json.dumps([_without_looking(row) for row in rows]), "utf-8")
    hosts.wait("unseen")
    return target


def _check_world(config: LookAgainConfig, meta: Path) -> None:
    asked = {
        "seed": config.seed,
        "counts": dict(config.counts),
        "world": dataclasses.asdict(config.world),
        "noise": dataclasses.asdict(config.noise),
    }
    found, asked = json.loads(meta.read_text("utf-8")), json.loads(json.dumps(asked))
    for name, value in asked.items():
        if found[name] != value:
            raise ValueError(
                f"{meta.parent} holds a world whose {name} is {found[name]}, asked for is {value}: "
                "name a new workdir"
            )


def _without_looking(row: Mapping) -> dict:
    """The row with its answer alone: no thought, no box, no crop."""
    answer = row["response_list"][-1].partition("<answer>")[2].partition("</answer>")[0]
    told = f"<answer>{answer}</answer>"
    return {**row, "response_list": [told], "img_crop_list": [], "train_list": [True]}


def _stage(
    name: str, config: LookAgainConfig, model: str | Path, workdir: Path, profile: int | None
) -> Path:
    """Runs a stage of training unless its export is there; returns the export."""
    export, data = workdir / name / "export", workdir / "data"
    if (export / "config.json").is_file():
        return export
    if name == "rgrpo":
        loop, stage, files = rgrpo, config.rgrpo, {"data": data / "rl.json"}
    elif name == "sft":
        loop, stage = sft, config.sft
        files = {"data": data / "sft.json", "valid_data": data / "valid.json"}
    else:
        loop, stage = sft, config.no_crop
        files = {"data": write_unseen(data, "sft"), "valid_data": write_unseen(data, "valid")}
    filled = {"model": model, **files}
    stage = dataclasses.replace(stage, seed=config.seed, **{n: str(p) for n, p in filled.items()})
    return loop.run(stage, workdir / name, title=name, profile=profile)


def evaluate_all(
    config: LookAgainConfig, models: Mapping[str, str | Path], test: Path, done: Path
) -> dict:
    """Asks every model every held-out question in both modes; adds the controls and chance.

    `done` is a directory that keeps what was found: a run that was stopped asks only the rest.
    """
    rows, _ = vlir.read_rl(test, test.parent)
    evaluate.check_rows(rows)
    loaded = {name: pretrained.load(path, on_host=True) for name, path in models.items()}
    start = loaded["rgrpo"]
    questions = list(evaluate.Questions(rows, start.form))
    shuffled = shuffle_questions(rows, questions, config.seed)
    results: dict = {"chance": dict.fromkeys(MODES, look_again.chance(rows))}
    for mode, temperature in MODES.items():
        eng = evaluate.make_engine(start, config.eval_buckets, temperature, config.eval_batch)
        blank: engine.Engine = dataclasses.replace(eng, look=looks.blank_look)
        asked = {name: (eng, one.params, questions) for name, one in loaded.items()}
        asked["blank_crop"] = (blank, start.params, questions)
        asked["shuffled"] = (eng, start.params, shuffled)
        for name, (asking, params, given) in asked.items():
            ask = functools.partial(evaluate.evaluate, asking, params, given, config.seed)
            results.setdefault(name, {})[mode] = _once(done / f"{name}_{mode}.json", ask)
    return results


def _once(path: Path, ask: Callable[[], tuple[list, dict]]) -> dict:
    """The summary that a file holds, or else that of `ask`, written to it."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.write_whole(path, _as_json(ask()[1]))
    return json.loads(path.read_text("utf-8"))


def _as_json(content: dict) -> str:
    return json.dumps(content, indent=2) + "\n"


def shuffle_questions(
    rows: Sequence[vlir.RlRow], questions: list[Question], seed: int
) -> list[Question]:
    """Each image with the questions of another image of its family, and its own answers' key.

    The question asked is foreign; right is what the image's own question asks for. Whoever still
    answers rightly did not need the question. A family with a single image keeps its questions.
    """
    rng = np.random.default_rng(seed)
    families: dict[str, dict[ImageSource, list[int]]] = {}
    for number, row in enumerate(rows):
        families.setdefault(row.source, {}).setdefault(row.image, []).append(number)
    shuffled = list(questions)
    for pictures in families.values():
        order = [list(pictures.values())[i] for i in rng.permutation(len(pictures))]
        for own, foreign in zip(order, order[1:] + order[:1]):
            for turn, number in enumerate(own):
                text = questions[foreign[turn % len(foreign)]].text
                shuffled[number] = dataclasses.replace(questions[number], text=text)
    return shuffled
