"""Safetensors files tensor by tensor: memory-mapped reading, streamed writing, one file or shards.

A file is 8 bytes (header length, little endian), a JSON header that gives each tensor's dtype,
shape and byte range, then the bytes. A sharded model has `model.safetensors.index.json`, which
maps each tensor to its file. Pickle files are never opened.

Source: the safetensors format description.
"""

import contextlib
import dataclasses
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from r3jax import paths
from r3jax.checkpoint.errors import CheckpointError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
MAX_HEADER_BYTES = 100_000_000
DEFAULT_SHARD_BYTES = 5_000_000_000


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor on disk: where it lies and what it is. `start` and `stop` are bytes of the file."""

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Pending:
    """A tensor yet to be written; `make` produces it only when its turn comes."""

    key: str
    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_headers(directory: Path) -> dict[str, Stored]:
    """Reads what a model directory holds, without touching the tensors themselves.

    Raises: CheckpointError for a missing or cut-off file, a bad header or a bad index.
    """
    stored: dict[str, Stored] = {}
    weight_map = _weight_map(directory)
    files = [directory / SINGLE] if weight_map is None else _shards(directory, weight_map)
    for file in files:
        for key, tensor in _read_header(file).items():
            if key in stored:
                raise CheckpointError(f"{key} is in {stored[key].file.name} and in {file.name}")
            stored[key] = tensor
    if weight_map is not None:
        for key, name in weight_map.items():
            if key not in stored or stored[key].file.name != name:
                raise CheckpointError(f"{INDEX} says that {name} holds {key}, but it does not")
    return stored


def read_tensors(stored: Mapping[str, Stored]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (key, read-only array) file by file; copy one before asking for the next.

    One file is mapped at a time, so the memory in use is one file at most; of a file in a bucket,
    a few tensors.
    """
    by_file: dict[Path, list[str]] = {}
    for key, tensor in stored.items():
        by_file.setdefault(tensor.file, []).append(key)
    for file, keys in by_file.items():
        with _bytes_of(file) as between:
            for key in sorted(keys, key=lambda key: stored[key].start):
                tensor = stored[key]
                data = between(tensor.start, tensor.stop)
                yield key, data.view(tensor.dtype).reshape(tensor.shape)


@contextlib.contextmanager
def _bytes_of(file: Path) -> Iterator[Callable[[int, int], np.ndarray]]:
    """Yields what gives the bytes of a file between two places, uint8."""
    if not paths.in_bucket(file):
        mapped = np.memmap(file, dtype=np.uint8, mode="r")
        yield lambda start, stop: mapped[start:stop]
        return
    with file.open("rb") as opened:

        def between(start: int, stop: int) -> np.ndarray:
            opened.seek(start)
            return np.frombuffer(opened.read(stop - start), np.uint8)

        yield between


def write_model(directory: Path, tensors: Sequence[Pending], max_shard_bytes: int) -> None:
    """Writes tensors as `model.safetensors`, or as shards with an index when they are too many.

    At most one tensor is in memory at a time. A tensor above `max_shard_bytes` has its own shard.
    """
    shards = _split(tensors, max_shard_bytes)
    if len(shards) == 1:
        _write_file(directory / SINGLE, shards[0])
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_file(directory / name, shard)
        weight_map |= {tensor.key: name for tensor in shard}
    total = sum(tensor.num_bytes for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _weight_map(directory: Path) -> dict[str, str] | None:
    if (directory / SINGLE).exists():
        return None
    if not (directory / INDEX).exists():
        raise CheckpointError(
            f"{directory} holds neither {SINGLE} nor {INDEX}; only safetensors files are read"
        )
    try:
        weight_map = json.loads((directory / INDEX).read_text())["weight_map"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{directory / INDEX} is not a safetensors index: {error}") from error
    return weight_map


def _shards(directory: Path, weight_map: Mapping[str, str]) -> list[Path]:
    names = sorted(set(weight_map.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise CheckpointError(f"{directory / INDEX} names files outside its directory: {outside}")
    missing = [name for name in names if not (directory / name).exists()]
    if missing:
        raise CheckpointError(
            f"{directory} lacks {len(missing)} of {len(names)} shards: {', '.join(missing)}; "
            "download them again"
        )
    return [directory / name for name in names]


def _read_header(file: Path) -> dict[str, Stored]:
    size = paths.size(file)
    with file.open("rb") as opened:
        head = opened.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise CheckpointError(f"{file} is not a safetensors file, or it was cut off")
        try:
            entries = json.loads(opened.read(length))
        except ValueError as error:
            raise CheckpointError(f"{file} has a header that is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise CheckpointError(
            f"{file} has a header that is {type(entries).__name__}, not an object"
        )
    entries.pop("__metadata__", None)
    return {key: _stored(file, key, entry, 8 + length, size) for key, entry in entries.items()}


def _stored(file: Path, key: str, entry: Mapping, offset: int, size: int) -> Stored:
    if not {"dtype", "shape", "data_offsets"} <= set(entry):
        raise CheckpointError(f"{key} in {file.name} lacks dtype, shape or data_offsets: {entry}")
    if entry["dtype"] not in DTYPES:
        raise CheckpointError(
            f"{key} in {file.name} has dtype {entry['dtype']}; expected one of "
            f"{', '.join(DTYPES)}. Quantised checkpoints are not read: take the unquantised release"
        )
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    start, stop = (offset + end for end in entry["data_offsets"])
    expected = math.prod(shape) * dtype.itemsize
    if stop - start != expected:
        raise CheckpointError(
            f"{key} in {file.name} takes {stop - start} bytes; its shape {shape} needs {expected}"
        )
    if stop > size:
        raise CheckpointError(
            f"{file} was cut off: it has {size} bytes and {key} ends at byte {stop}; "
            "download it again"
        )
    return Stored(file, dtype, shape, start, stop)


def _split(tensors: Sequence[Pending], max_shard_bytes: int) -> list[list[Pending]]:
    shards: list[list[Pending]] = [[]]
    room = max_shard_bytes
    for tensor in tensors:
        if shards[-1] and tensor.num_bytes > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(tensor)
        room -= tensor.num_bytes
    return shards


def _write_file(file: Path, tensors: Sequence[Pending]) -> None:
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}  # Transformers asks for it
    offset = 0
    for tensor in tensors:
        stop = offset + tensor.num_bytes
        header[tensor.key] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # the tensors start aligned
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors:
            array = tensor.make()
            if array.shape != tensor.shape or array.dtype != tensor.dtype:
                raise CheckpointError(
                    f"{tensor.key}: expected {tensor.dtype}{list(tensor.shape)}, "
                    f"came {array.dtype}{list(array.shape)}"
                )
            opened.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
