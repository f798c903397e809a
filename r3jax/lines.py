"""Files with a JSON object a line that grow line by line; a kill tears the last one at most."""

import json
import pathlib
from collections.abc import Iterator, Mapping

from r3jax import paths


def read(path: pathlib.Path) -> Iterator[tuple[dict, int]]:
    """The whole lines of a file that may not be there, each with the byte behind it; a torn last
    line is none. Raises: ValueError for a line that is no JSON object."""
    if not path.is_file():
        return
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise ValueError(
                    f"{path}, line {number} is no JSON object, but nothing else is written there: "
                    "remove the file, and the same command makes it again"
                )
            yield value, end


def restore(path: pathlib.Path) -> list[dict]:
    """The whole lines of a file that is added to from here on: a torn last one is cut off."""
    found = list(read(path))
    keep(path, found[-1][1] if found else 0)
    return [value for value, _ in found]


def keep(path: pathlib.Path, size: int) -> None:
    """Cuts off what stands behind so many bytes, which end a line."""
    if not path.is_file() or paths.size(path) <= size:
        return
    if paths.in_bucket(path):
        paths.write_whole(path, paths.head(path, size).decode("utf-8"))
        return
    with path.open("r+b") as file:
        file.truncate(size)


def line(value: Mapping) -> str:
    """An object as a line; equal objects are equal lines, and nothing that JSON can say is lost."""
    return json.dumps(value, ensure_ascii=True) + "\n"
