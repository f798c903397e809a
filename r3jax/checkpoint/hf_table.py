"""The one table between our parameters and Hugging Face's, read in both directions.

Ours are [in..., out...] with heads as axes and layers stacked on axis 0; theirs are [out, in] with
one key a layer. Nothing but reshapes, one transpose and stacking lies between, so importing and
exporting gives the same bits. Key names are those of the released files; `released_key` maps the
names of Transformers 5 to them.

    >>> released_key("model.language_model.layers.0.mlp.up_proj.weight")
    'model.layers.0.mlp.up_proj.weight'
    >>> released_key("model.visual.merger.ln_q.weight")
    'visual.merger.ln_q.weight'
"""

import dataclasses
import functools
import math
import types
from collections.abc import Mapping, Sequence

import numpy as np
from flax import traverse_util

from r3jax.checkpoint.errors import CheckpointError, listed
from r3jax.model import qwen
from r3jax.model.config import ModelConfig

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"

PLAIN = 0  # kept as it is, axes of heads flattened: norms, biases, embedding
# Any other number: a matrix, transposed; the number is how many of our axes are inputs.
TABLE = (
    ("vision/patch_embed/kernel", "visual.patch_embed.proj.weight", 1),
    ("vision/blocks/norm1/scale", "visual.blocks.{}.norm1.weight", PLAIN),
    ("vision/blocks/attention/qkv/kernel", "visual.blocks.{}.attn.qkv.weight", 1),
    ("vision/blocks/attention/qkv/bias", "visual.blocks.{}.attn.qkv.bias", PLAIN),
    ("vision/blocks/attention/proj/kernel", "visual.blocks.{}.attn.proj.weight", 2),
    ("vision/blocks/attention/proj/bias", "visual.blocks.{}.attn.proj.bias", PLAIN),
    ("vision/blocks/norm2/scale", "visual.blocks.{}.norm2.weight", PLAIN),
    ("vision/blocks/mlp/gate/kernel", "visual.blocks.{}.mlp.gate_proj.weight", 1),
    ("vision/blocks/mlp/gate/bias", "visual.blocks.{}.mlp.gate_proj.bias", PLAIN),
    ("vision/blocks/mlp/up/kernel", "visual.blocks.{}.mlp.up_proj.weight", 1),
    ("vision/blocks/mlp/up/bias", "visual.blocks.{}.mlp.up_proj.bias", PLAIN),
    ("vision/blocks/mlp/down/kernel", "visual.blocks.{}.mlp.down_proj.weight", 1),
    ("vision/blocks/mlp/down/bias", "visual.blocks.{}.mlp.down_proj.bias", PLAIN),
    ("vision/merger/norm/scale", "visual.merger.ln_q.weight", PLAIN),
    ("vision/merger/hidden/kernel", "visual.merger.mlp.0.weight", 1),
    ("vision/merger/hidden/bias", "visual.merger.mlp.0.bias", PLAIN),
    ("vision/merger/out/kernel", "visual.merger.mlp.2.weight", 1),
    ("vision/merger/out/bias", "visual.merger.mlp.2.bias", PLAIN),
    ("text/embed/embedding", EMBEDDING, PLAIN),
    ("text/layers/norm1/scale", "model.layers.{}.input_layernorm.weight", PLAIN),
    ("text/layers/attention/q/kernel", "model.layers.{}.self_attn.q_proj.weight", 1),
    ("text/layers/attention/q/bias", "model.layers.{}.self_attn.q_proj.bias", PLAIN),
    ("text/layers/attention/k/kernel", "model.layers.{}.self_attn.k_proj.weight", 1),
    ("text/layers/attention/k/bias", "model.layers.{}.self_attn.k_proj.bias", PLAIN),
    ("text/layers/attention/v/kernel", "model.layers.{}.self_attn.v_proj.weight", 1),
    ("text/layers/attention/v/bias", "model.layers.{}.self_attn.v_proj.bias", PLAIN),
    ("text/layers/attention/o/kernel", "model.layers.{}.self_attn.o_proj.weight", 2),
    ("text/layers/norm2/scale", "model.layers.{}.post_attention_layernorm.weight", PLAIN),
    ("text/layers/mlp/gate/kernel", "model.layers.{}.mlp.gate_proj.weight", 1),
    ("text/layers/mlp/up/kernel", "model.layers.{}.mlp.up_proj.weight", 1),
    ("text/layers/mlp/down/kernel", "model.layers.{}.mlp.down_proj.weight", 1),
    ("text/norm/scale", "model.norm.weight", PLAIN),
    ("text/head/kernel", HEAD, 1),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one Hugging Face tensor belongs in our tree.

    `path` names our parameter and `layer` its slice (None: not stacked). `ours` is the shape of
    that slice, `theirs` the shape in the file.
    """

    key: str
    path: tuple[str, ...]
    layer: int | None
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    is_matrix: bool

    def from_hf(self, tensor: np.ndarray) -> np.ndarray:
        """Returns a view of a stored tensor in our layout."""
        if self.is_matrix:
            tensor = tensor.reshape(self.theirs[0], -1).T
        return tensor.reshape(self.ours)

    def to_hf(self, weight: np.ndarray) -> np.ndarray:
        """Returns one slice of our parameter in the layout of the file."""
        if self.is_matrix:
            weight = weight.reshape(-1, self.theirs[0]).T
        return weight.reshape(self.theirs)


@functools.cache
def param_shapes(config: ModelConfig) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Returns the shape of every parameter of ours by path."""
    leaves = flatten(qwen.abstract_params(config))
    return types.MappingProxyType({path: leaf.shape for path, leaf in leaves.items()})


def places(config: ModelConfig) -> tuple[Place, ...]:
    """Returns a place for every tensor of a released checkpoint of `config`.

    Raises: CheckpointError if the table and the model's parameters differ.
    """
    shapes = param_shapes(config)
    rows = [row for row in TABLE if row[1] != HEAD or not config.tie_word_embeddings]
    named = {tuple(row[0].split("/")) for row in rows}
    if named != set(shapes):
        raise CheckpointError(
            f"the Hugging Face table and the model differ in {sorted(named ^ set(shapes))}; "
            "every parameter needs exactly one row"
        )
    return tuple(place for row in rows for place in _places_of_row(config, shapes, *row))


def _places_of_row(config, shapes, name: str, key: str, inputs: int) -> list[Place]:
    path = tuple(name.split("/"))
    if "{}" not in key:
        return [_place(config, key, path, None, shapes[path], inputs)]
    layers, *ours = shapes[path]
    return [
        _place(config, key.format(layer), path, layer, tuple(ours), inputs)
        for layer in range(layers)
    ]


def _place(config, key: str, path, layer: int | None, ours: tuple[int, ...], inputs: int) -> Place:
    vision = config.vision
    if key == "visual.patch_embed.proj.weight":  # stored as the 3D convolution that it replaces
        side = vision.patch_size
        theirs = (ours[1], vision.in_channels, vision.temporal_patch_size, side, side)
    elif inputs:
        theirs = (math.prod(ours[inputs:]), math.prod(ours[:inputs]))
    else:
        theirs = ours if key == EMBEDDING else (math.prod(ours),)
    return Place(key, path, layer, ours, theirs, is_matrix=inputs > 0)


def released_key(key: str) -> str:
    """Returns the released name of a key of either style."""
    for theirs, released in (("model.visual.", "visual."), ("model.language_model.", "model.")):
        if key.startswith(theirs):
            return released + key.removeprefix(theirs)
    return key


def match(expected: Sequence[Place], found: Mapping[str, tuple[int, ...]]) -> dict[str, Place]:
    """Returns the place of every found key (in either style of names).

    Raises: CheckpointError that lists every missing, unknown, doubled and misshapen key.
    """
    by_key = {place.key: place for place in expected}
    matched: dict[str, Place] = {}
    problems = []
    for key, shape in found.items():
        place = by_key.pop(released_key(key), None)
        if place is not None:
            matched[key] = place
            if shape != place.theirs:
                problems.append((key, f"expected shape {place.theirs}, found {shape}"))
        elif any(other.key == released_key(key) for other in matched.values()):
            problems.append((key, "found twice, under its released and its newer name"))
        else:
            problems.append((key, f"unknown key of shape {shape}; expected no such tensor"))
    missing = [
        (key, f"missing; expected shape {place.theirs}, found nothing")
        for key, place in by_key.items()
    ]
    if problems or missing:
        raise listed(
            "the tensors are not those that config.json describes",
            missing + problems,
            "Check that config.json and the weights come from the same Qwen2.5-VL release.",
        )
    return matched


def flatten(params: Mapping) -> dict[tuple[str, ...], object]:
    """Returns the leaves of a parameter tree by path."""
    return traverse_util.flatten_dict(dict(params))
