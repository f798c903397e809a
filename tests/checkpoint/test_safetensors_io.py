"""Reading and writing safetensors files."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from r3jax.checkpoint import safetensors_io
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.safetensors_io import INDEX, SINGLE, Pending

DTYPES = [np.dtype(d) for d in (np.float32, np.float16, ml_dtypes.bfloat16)]


def pending(arrays: dict[str, np.ndarray]) -> list[Pending]:
    return [Pending(k, a.dtype, a.shape, lambda a=a: a) for k, a in arrays.items()]


def read(directory) -> dict[str, np.ndarray]:
    stored = safetensors_io.read_headers(directory)
    return {key: np.array(view) for key, view in safetensors_io.read_tensors(stored)}


def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (7,), (2, 3, 4), (1, 1)]
    return {f"t{i}": rng.normal(size=s).astype(DTYPES[i % 3]) for i, s in enumerate(shapes)}


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(DTYPES)), min_size=1
    ),
    st.integers(1, 300),
)
def test_any_tensors_come_back_bit_for_bit(tmp_path_factory, tensors, max_shard_bytes):
    directory = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    arrays = {
        f"t{i}": rng.integers(0, 256, size=(*shape, dtype.itemsize), dtype=np.uint8)
        .view(dtype)
        .reshape(shape)
        for i, (shape, dtype) in enumerate(tensors)
    }
    safetensors_io.write_model(directory, pending(arrays), max_shard_bytes)
    back = read(directory)
    assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in back.items()} == {
        k: (a.dtype, a.shape, a.tobytes()) for k, a in arrays.items()
    }
    for shard in directory.glob("model-*.safetensors"):
        header = safetensors_io._read_header(shard)
        size = sum(t.stop - t.start for t in header.values())
        assert size <= max_shard_bytes or len(header) == 1


def test_the_safetensors_library_agrees(tmp_path):
    arrays = sample()
    safetensors_io.write_model(tmp_path, pending(arrays), 10**6)
    library = safetensors.numpy.load_file(tmp_path / SINGLE)
    assert {k: a.tobytes() for k, a in library.items()} == {
        k: a.tobytes() for k, a in arrays.items()
    }
    safetensors.numpy.save_file(arrays, tmp_path / SINGLE)
    assert {k: a.tobytes() for k, a in read(tmp_path).items()} == {
        k: a.tobytes() for k, a in arrays.items()
    }


def test_one_tensor_in_two_shards_is_refused(tmp_path):
    safetensors_io.write_model(tmp_path, pending(sample()), 60)
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match=r"t0 is in model-00001-of-.* and in model-00002-of-"):
        read(tmp_path)


def test_a_tensor_that_is_not_as_announced_is_not_written(tmp_path):
    announced = Pending("a", np.dtype(np.float32), (2,), lambda: np.zeros(3, np.float32))
    with pytest.raises(CheckpointError, match=r"a: expected float32\[2\], came float32\[3\]"):
        safetensors_io.write_model(tmp_path, [announced], 100)


def test_index_names_every_shard(tmp_path):
    safetensors_io.write_model(tmp_path, pending(sample()), 60)
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(a.nbytes for a in sample().values())
    assert set(index["weight_map"]) == set(sample())
    assert set(index["weight_map"].values()) == {p.name for p in tmp_path.glob("*.safetensors")}


def test_cut_off_file_is_refused(tmp_path):
    safetensors_io.write_model(tmp_path, pending(sample()), 10**6)
    file = tmp_path / SINGLE
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"was cut off: it has \d+ bytes and t3 ends"):
        read(tmp_path)
    for short in (b"", content[:7], content[:40], struct.pack("<Q", 2**63) + content[8:]):
        file.write_bytes(short)
        with pytest.raises(CheckpointError, match="is not a safetensors file, or it was cut off"):
            read(tmp_path)


def test_broken_headers_are_refused(tmp_path):
    def write(header: str) -> None:
        head = header.encode()
        (tmp_path / SINGLE).write_bytes(struct.pack("<Q", len(head)) + head + bytes(64))

    write('{"a": ')
    with pytest.raises(CheckpointError, match="a header that is not JSON"):
        read(tmp_path)
    write("[1, 2]")
    with pytest.raises(CheckpointError, match="a header that is list, not an object"):
        read(tmp_path)
    write('{"a": {"dtype": "F32", "shape": [4]}}')
    with pytest.raises(CheckpointError, match="lacks dtype, shape or data_offsets"):
        read(tmp_path)
    write('{"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}')
    with pytest.raises(
        CheckpointError, match=r"a in .* has dtype F8_E4M3; expected one of F32, BF"
    ):
        read(tmp_path)
    write('{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}')
    with pytest.raises(CheckpointError, match=r"takes 4 bytes; its shape \(4,\) needs 16"):
        read(tmp_path)


def test_bad_indexes_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        read(tmp_path)
    safetensors_io.write_model(tmp_path, pending(sample()), 60)
    index = json.loads((tmp_path / INDEX).read_text())

    def rewrite(weight_map: dict) -> None:
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    rewrite(index["weight_map"] | {"t9": index["weight_map"]["t0"]})
    with pytest.raises(CheckpointError, match="holds t9, but it does not"):
        read(tmp_path)
    rewrite(index["weight_map"] | {"t9": "../t9.safetensors"})
    with pytest.raises(CheckpointError, match="outside its directory"):
        read(tmp_path)
    rewrite(index["weight_map"])
    (tmp_path / index["weight_map"]["t0"]).unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of"):
        read(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(CheckpointError, match="is not a safetensors index"):
        read(tmp_path)
