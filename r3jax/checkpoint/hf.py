"""Hugging Face directories in and out, tensor by tensor.

model = hf.load_hf("Qwen2.5-VL-3B-Instruct")
hf.save_hf("mine", model.config, model.params, carry_from="Qwen2.5-VL-3B-Instruct")
"""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from flax import traverse_util

from r3jax import hosts, paths, shares
from r3jax.checkpoint import directory as directories
from r3jax.checkpoint import hf_config, hf_table, safetensors_io
from r3jax.checkpoint.errors import CheckpointError, listed
from r3jax.checkpoint.hf_config import HFExtras
from r3jax.checkpoint.hf_table import Place
from r3jax.checkpoint.safetensors_io import Pending, Stored
from r3jax.model import lora
from r3jax.model.config import ModelConfig

SAME = "same"
DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
CARRIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "generation_config.json",
    "r3jax.json",
)
"""Files that go along byte for byte, where the source directory has them."""


@dataclasses.dataclass(frozen=True)
class HFModel:
    """A model read from a Hugging Face directory; `params` is a plain tree of NumPy arrays."""

    config: ModelConfig
    params: dict
    extras: HFExtras


def load_hf(directory: str | Path, dtype: str = SAME) -> HFModel:
    """Reads a directory of safetensors into our parameter tree, one tensor at a time.

    `dtype` is "float32", "bfloat16", "float16", or "same" to keep what each tensor is stored in.
    Host memory peaks at the model plus one file.

    Raises: CheckpointError for a bad config.json, a bad file, or keys that do not match.
    """
    directory = paths.of(directory)
    config, extras = hf_config.read_config(directory)
    stored = safetensors_io.read_headers(directory)
    if config.tie_word_embeddings:
        stored = _without_tied_head(stored)
    places = hf_table.match(
        hf_table.places(config), {key: tensor.shape for key, tensor in stored.items()}
    )
    params = _allocate(config, places, stored, dtype)
    for key, tensor in safetensors_io.read_tensors(stored):
        place = places[key]
        target = params[place.path]
        if place.layer is not None:
            target = target[place.layer]
        target[...] = place.from_hf(tensor)
    return HFModel(config, traverse_util.unflatten_dict(params), extras)


def save_hf(
    directory: str | Path,
    config: ModelConfig,
    params: Mapping,
    carry_from: str | Path | None = None,
    dtype: str = SAME,
    extras: HFExtras | None = None,
    max_shard_bytes: int = safetensors_io.DEFAULT_SHARD_BYTES,
    beside: Mapping[str, str] | None = None,
) -> None:
    """Writes a directory in the released layout: flat config.json, released key names.

    `carry_from` is a directory whose tokenizer, processor, template and generation files go along
    byte for byte; its config.json gives `extras` unless they are passed. `beside` are more files,
    names and texts, instead of those carried. The directory appears as a whole or not at all; one
    that held a model before is replaced. Where parameters lie on several hosts, all call this, and
    the first of them writes. Adapters are added to the kernels beside which they learnt; such a
    model is the "same" in float32, since 16 bits would round away much of what they add.

    Raises: CheckpointError when parameters do not match `config`, or when writing fails.
    """
    if extras is None:
        has_config = carry_from is not None and (paths.of(carry_from) / "config.json").exists()
        extras = hf_config.read_config(paths.of(carry_from))[1] if has_config else HFExtras()
    if config.text.lora is not None and dtype == SAME:
        dtype = "float32"
    leaves, plain = _matching_leaves(config, params), config.adapted(None)
    tensors = [_pending(config, place, leaves, dtype) for place in hf_table.places(plain)]
    hosts.goes_on(f"writing {directory}")
    if not hosts.leads():
        for tensor in tensors:
            tensor.make()  # which takes all hosts
        hosts.wait("written")
        return
    dtype = {kind: name for name, kind in DTYPES.items()}[tensors[0].dtype]
    released = hf_config.released_config(plain, dataclasses.replace(extras, dtype=dtype))
    with directories.replaced(paths.of(directory), mark="config.json") as partial:
        (partial / "config.json").write_text(json.dumps(released, indent=2) + "\n")
        if carry_from is not None:
            carry(paths.of(carry_from), partial)
        for name, text in (beside or {}).items():
            (partial / name).write_text(text, "utf-8")
        safetensors_io.write_model(partial, tensors, max_shard_bytes)
    hosts.wait("written")


def carry(source: Path, target: Path) -> None:
    """Copies the files beside the weights (see CARRIED), byte for byte."""
    if not source.is_dir():
        raise CheckpointError(f"{source} is not a directory to carry tokenizer files from")
    for name in CARRIED:
        if (source / name).is_file():
            paths.copy(source / name, target / name)


def copy_surroundings(
    source: str | Path, target: str | Path, beside: Mapping[str, str] | None = None
) -> None:
    """Copies config.json and the CARRIED files: all that an export needs beside the weights.
    `beside` are more files, as for `save_hf`."""
    with directories.replaced(paths.of(target), mark="config.json") as partial:
        carry(paths.of(source), partial)
        paths.copy(paths.of(source) / "config.json", partial / "config.json")
        for name, text in (beside or {}).items():
            (partial / name).write_text(text, "utf-8")


def _without_tied_head(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Drops a stored lm_head of a tied model, and says so when it is not the embedding."""
    kept = {key: tensor for key, tensor in stored.items() if key != hf_table.HEAD}
    embedding = [key for key in kept if hf_table.released_key(key) == hf_table.EMBEDDING]
    if hf_table.HEAD in stored and embedding:
        pair = {key: stored[key] for key in (hf_table.HEAD, embedding[0])}
        head, embed = _read(pair).values()
        if not np.array_equal(head, embed):
            warnings.warn(
                f"{hf_table.HEAD} differs from {embedding[0]} though config.json says "
                "tie_word_embeddings: the model is kept tied and the stored head is left out. "
                "Set tie_word_embeddings to false in config.json to use the stored head",
                stacklevel=3,
            )
    return kept


def _read(stored: Mapping[str, Stored]) -> dict[str, np.ndarray]:
    return {key: np.array(tensor) for key, tensor in safetensors_io.read_tensors(stored)}


def _allocate(
    config: ModelConfig, places: Mapping[str, Place], stored: Mapping[str, Stored], dtype: str
) -> dict[tuple[str, ...], np.ndarray]:
    kinds: dict[tuple[str, ...], np.dtype] = {}
    for key, place in places.items():
        kind = _dtype(dtype, stored[key].dtype)
        if kinds.setdefault(place.path, kind) != kind:
            raise CheckpointError(
                f"{key} is {kind} but the same weight of other layers is {kinds[place.path]}; "
                "layers are stacked, so name one dtype instead of 'same'"
            )
    shapes = hf_table.param_shapes(config)
    return {path: np.empty(shape, kinds[path]) for path, shape in shapes.items()}


def _dtype(asked: str, found: np.dtype) -> np.dtype:
    if asked != SAME and asked not in DTYPES:
        raise CheckpointError(f"dtype is {asked!r}; expected 'same' or one of {sorted(DTYPES)}")
    kind = found if asked == SAME else DTYPES[asked]
    if kind not in DTYPES.values():
        raise CheckpointError(
            f"dtype {kind} has no place in a model file; name one of {sorted(DTYPES)}"
        )
    return kind


def _matching_leaves(config: ModelConfig, params: Mapping) -> dict[tuple[str, ...], jax.Array]:
    expected, found = hf_table.param_shapes(config), hf_table.flatten(params)
    problems = [("/".join(path), "missing") for path in expected if path not in found]
    problems += [("/".join(path), "unknown") for path in found if path not in expected]
    problems += [
        ("/".join(path), f"expected shape {shape}, found {found[path].shape}")
        for path, shape in expected.items()
        if path in found and found[path].shape != shape
    ]
    if problems:
        raise listed("the parameters are not those of the config", problems, "Nothing was written.")
    return found


def _pending(config: ModelConfig, place: Place, leaves: Mapping, dtype: str) -> Pending:
    """Puts one tensor in line; its slice leaves the device only when it is written."""
    path = place.path
    kind = _dtype(dtype, np.dtype(leaves[path].dtype))

    def of_layer(path: tuple[str, ...]) -> np.ndarray:
        leaf = leaves[path]
        return shares.whole(leaf if place.layer is None else leaf[place.layer])

    def make() -> np.ndarray:
        weight = of_layer(path)
        beside = [(*path[:-1], lora.NAME, name) for name in ("a", "b")]
        if path[-1] == "kernel" and beside[0] in leaves:
            weight = lora.merged(config.text.lora, weight, *map(of_layer, beside))
        return place.to_hf(weight).astype(kind, copy=False)

    return Pending(place.key, kind, place.theirs, make)
