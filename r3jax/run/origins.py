"""What a run was made from, so that it goes on from the same and from nothing else."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from r3jax import metrics, paths
from r3jax.data import sources

IN_BUCKET = "bucket:"
MOVED = ", or lay on a disk and lies in a bucket, or the other way, which cannot be compared"
DESCRIBED_BY = ("dataset_info.json", "features.json")  # of a TFDS data set: size, shards, features


def fingerprints(model: str, data: str, adapters: str = "") -> dict[str, str]:
    """Those of the model directory that a run starts from, of its data set, and of the run whose
    `adapters` it goes on with, if it does."""
    found = {"model": fingerprint_model(model), "data": fingerprint_data(data)}
    return found | ({"adapters": fingerprint_run(adapters)} if adapters else {})


def fingerprint_model(directory: str | Path) -> str:
    """SHA-256 over everything in a model directory that changes its answers; of one in a bucket,
    over what the bucket says of it, since weights are large."""
    names = ("*.safetensors", "config.json", "r3jax.json", "tokenizer.json")
    directory = paths.of(directory)
    found = directory.iterdir() if directory.is_dir() else ()
    return _digest_all(sorted(p for p in found if any(map(p.match, names))))


def fingerprint_data(name: str | Path) -> str:
    """SHA-256 of a data set as `sources` names it: of the file, or of what describes the records.

    Images are not read: a picture that another one replaced goes unnoticed.
    """
    place, split = sources.split_of(str(name))
    return _digest_all([place / file for file in DESCRIBED_BY] if split else [place])


def fingerprint_run(workdir: str | Path) -> str:
    """SHA-256 of the metrics of a run, which are others wherever its weights are."""
    path = paths.of(workdir) / metrics.METRICS
    if not path.is_file():
        raise ValueError(f"{path} is not there: copy it along with the run's checkpoints")
    return _digest_all([path])


def check(before: Mapping[str, str], now: Mapping[str, str], workdir: Path) -> None:
    """Raises ValueError where a run would go on with other inputs than it began with."""
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        moved = any(moved_between(before.get(name, ""), now[name]) for name in changed)
        raise ValueError(
            f"{workdir} holds a run whose {' and '.join(changed)} had another content than now"
            f"{MOVED if moved else ''}: put back what was there, or name a new workdir"
        )


def moved_between(before: str, now: str) -> bool:
    """Whether one of two fingerprints is of something in a bucket and the other is not, so that
    they say nothing of each other."""
    return before.startswith(IN_BUCKET) != now.startswith(IN_BUCKET)


def _digest_all(files: list[Path]) -> str:
    digest, kind = hashlib.sha256(), ""
    for path in files:
        if paths.in_bucket(path):
            digest.update(paths.checksum(path).encode())
            kind = IN_BUCKET
            continue
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return kind + digest.hexdigest()
