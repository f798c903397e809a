"""What the content of an output folder depends on, kept in it, and in nothing else continued."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from r3jax import paths


def fingerprint(value: Mapping[str, Any]) -> str:
    """A name for settings: the same for equal ones."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint_whole(path: pathlib.Path) -> str:
    """One for a file, by all that it holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint_files(files: Sequence[pathlib.Path]) -> str:
    """One for files of rows, by their names and all that they hold."""
    return fingerprint({"files": [[path.name, fingerprint_whole(path)] for path in files]})


def keep(path: pathlib.Path, now: Mapping[str, Any]) -> str:
    """Writes the settings of a folder into the file `path`, or checks that it holds the same;
    returns their fingerprint.

    Raises: ValueError naming what is another.
    """
    now = json.loads(json.dumps(now))
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if names:
            said = "; ".join(f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names)
            raise ValueError(
                f"{path.parent} was begun with other settings: {said}. Put them back, or name a "
                "new output"
            )
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.write_whole(path, json.dumps(now, indent=2, ensure_ascii=False) + "\n")
    return fingerprint(now)
