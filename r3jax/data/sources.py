"""Where rows come from, as configs name it.

data/sft.json  data/rl.jsonl                  a file in the published formats, images beside it
data/look_again_world/seed-0/1.0.0:sft        a split of a TFDS data set in ArrayRecord files
"""

from pathlib import Path

from r3jax import paths
from r3jax.data import vlir


def read_sft(name: str) -> list[vlir.SftRow]:
    """All rows of a data set of traces; RowError or ValueError at the first that cannot be used."""
    place, split = split_of(name)
    if split:
        return _array_records().read_sft(place, split)
    return vlir.read_sft(place, place.parent)[0]


def read_rl(name: str) -> list[vlir.RlRow]:
    """All rows of a data set of questions; otherwise as `read_sft`."""
    place, split = split_of(name)
    if split:
        return _array_records().read_rl(place, split)
    return vlir.read_rl(place, place.parent)[0]


def split_of(name: str) -> tuple[Path, str]:
    """A file and no split, or the directory of a data set and the split named after a colon."""
    if (path := paths.of(name)).is_dir():
        raise ValueError(f"{name} is a directory: name a file, or the split too, as {name}:train")
    directory, colon, split = name.rpartition(":")
    is_split = colon and not split.startswith("//") and paths.of(directory).is_dir()
    return (paths.of(directory), split) if is_split else (path, "")


def _array_records():
    # TFDS takes seconds to import: only who reads its files waits.
    from r3jax.data import array_records

    return array_records
