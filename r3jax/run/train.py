"""One entry for every kind of training: the config says which, the workdir keeps what was said."""

import dataclasses
import difflib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from r3jax import config as config_lib
from r3jax import hosts, paths
from r3jax.run import look_again, pretrain, profiler, rgrpo, sft
from r3jax.run.workdirs import CHECKPOINTS

KINDS: Mapping[str, tuple[type, Callable[..., Path]]] = {
    "pretrain": (pretrain.PretrainConfig, pretrain.run),
    "sft": (sft.SftConfig, sft.run),
    "rgrpo": (rgrpo.RgrpoRunConfig, rgrpo.run),
    "look_again": (look_again.LookAgainConfig, look_again.run),
}
"""What `config.kind` may be: the record that the config becomes, and the loop that it runs."""

FILE_NAME = "config.json"
SHARED_S = 30.0  # within which a file system shows one host what another has written
MAY_CHANGE = {
    "alarms",
    "at_once",
    "backoff_s",
    "buckets",
    "checkpoint",
    "eval_buckets",
    "kept",
    "key_variable",
    "learning_rate",
    "logit_chunk",
    "mesh",
    "micro_batch",
    "pause_above",
    "pause_s",
    "print_buckets",
    "remat",
    "scene_buckets",
    "tensor",
    "tensorboard",
    "timeout_s",
    "tries",
    "url",
}
"""Fields that a resumed run may have otherwise, at any depth; `steps` may grow, too.

Those that errors advise to change are among them: a run that met something too large for its
buckets or for its memory, or whose loss left all bounds, goes on from its last checkpoint.
"""


def train(config: ml_collections.ConfigDict | Mapping, workdir: str | Path, **options) -> Path:
    """Runs the training that `config` describes in `workdir`, or goes on with it.

    `options` go to the loop: `extra_terms` of R-GRPO; `profile`, how many steps to time. Returns
    what it leaves, the exported model or the results of the demonstration.

    To go on, all but `MAY_CHANGE` must be as it was: a run is what its data, seed, model and batch
    sizes make it.

    Raises: ValueError for a misspelt field (naming the nearest right one), an unknown kind, a
    workdir that holds a run with another config, or a `profile` that its steps are too few for.
    """
    profiler.check(options.get("profile"))
    kind, record = read(config)
    workdir = paths.of(workdir)
    keep_config(kind, record, workdir)
    return KINDS[kind][1](record, workdir, **options)


def read(config: ml_collections.ConfigDict | Mapping) -> tuple[str, Any]:
    """Returns the kind of a config, and its record with every name and type checked."""
    if not hasattr(config, "items"):
        raise ValueError(f"config: get_config() must return a ConfigDict, found {config!r}")
    values = dict(config.items())
    kind = values.pop("kind", None)
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"config.kind: expected one of {', '.join(KINDS)}, found {kind!r}; the nearest is "
            f"{near!r}"
        )
    return kind, config_lib.build(KINDS[kind][0], values)


def keep_config(kind: str, record: Any, workdir: Path) -> None:
    """Writes the resolved config, defaults included, to config.json of a workdir; of several hosts
    the first does.

    Raises: ValueError where the workdir holds checkpoints of a run whose config differs in a field
    that may not change.
    """
    text = json.dumps({"kind": kind, **dataclasses.asdict(record)}, indent=2)
    path = workdir / FILE_NAME
    if path.is_file() and _has_checkpoints(workdir):
        _check_same(_read_kept(path), json.loads(text), workdir)
    hosts.wait("config")
    if hosts.leads():
        workdir.mkdir(parents=True, exist_ok=True)
        paths.write_whole(path, text + "\n")
    hosts.wait("config written")
    if not _appears(path, text + "\n", SHARED_S):
        raise ValueError(
            f"{path} is not what the first host has written: give the same command on all, and a "
            "workdir on a file system that they share"
        )


def _has_checkpoints(workdir: Path) -> bool:
    """Whether there are any, of the run itself or of a stage of it."""
    stages = [CHECKPOINTS, f"*/{CHECKPOINTS}"]
    return any(True for stage in stages for _ in workdir.glob(f"{stage}/*"))


def _appears(path: Path, text: str, patience_s: float) -> bool:
    """Whether a file has this text before long: file systems of several hosts take their time."""
    until = time.monotonic() + patience_s
    while not (path.is_file() and path.read_text("utf-8") == text):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _read_kept(path: Path) -> Mapping:
    """A config as it was kept; fields that there were not yet have their defaults."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): name a new workdir") from error
    try:
        kind, record = read(kept)
    except ValueError:  # fields that there are no more: they are named with what has changed
        return kept
    return json.loads(json.dumps({"kind": kind, **dataclasses.asdict(record)}))


def _check_same(before: Mapping, now: Mapping, workdir: Path) -> None:
    old, new = flatten(before), flatten(now)
    absent = object()
    changed = [
        name
        for name in sorted(old.keys() | new.keys())
        if old.get(name, absent) != new.get(name, absent) and not MAY_CHANGE & set(name.split("."))
    ]
    if new.get("steps", 0) > old.get("steps", 0):
        changed = [name for name in changed if name != "steps"]
    if changed:
        lines = (
            f"config.{n} was {old.get(n, 'absent')!r}, is {new.get(n, 'absent')!r}" for n in changed
        )
        raise ValueError(
            f"{workdir} holds a run with another config: {'; '.join(lines)}. Name a new workdir, "
            "or go on with the config as it was (steps may grow; buckets, mesh, "
            "micro_batch, logit_chunk, remat, rollout.tensor, the learning_rate, checkpoint, "
            "where and how patiently a judge is asked, "
            "alarms and tensorboard may change)"
        )


def flatten(values: object, name: str = "") -> dict[str, object]:
    """Nested mappings and lists as one mapping of dotted names.

    >>> flatten({"a": {"b": 1}, "c": [2, 3]})
    {'a.b': 1, 'c.0': 2, 'c.1': 3}
    """
    if isinstance(values, list):
        values = {str(place): value for place, value in enumerate(values)}
    if not isinstance(values, Mapping):
        return {name: values}
    flat = {}
    for key, value in values.items():
        flat |= flatten(value, f"{name}.{key}" if name else key)
    return flat
