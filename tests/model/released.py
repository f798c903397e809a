"""The parameter tree from tensors under their released names: written apart from r3jax.checkpoint,
so that the proof of parity does not lean on the code that it would have to catch.
"""

import json
import pathlib

import jax
import numpy as np
from safetensors.numpy import load_file

from r3jax.model import config as model_config

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def tiny_config(tag: str) -> model_config.ModelConfig:
    """The configuration of the checkpoint tiny_untied or tiny_tied."""
    raw = json.loads((GOLDEN / f"tiny_{tag}" / "config.json").read_text())
    text, vision = raw["text_config"], raw["vision_config"]
    heads = text["num_attention_heads"]
    rope = text["rope_parameters"]
    return model_config.ModelConfig(
        model_config.TextConfig(
            vocab_size=text["vocab_size"],
            hidden_size=text["hidden_size"],
            num_layers=text["num_hidden_layers"],
            num_heads=heads,
            num_kv_heads=text["num_key_value_heads"],
            intermediate_size=text["intermediate_size"],
            head_dim=text["hidden_size"] // heads,
            rms_norm_eps=text["rms_norm_eps"],
            rope_theta=rope["rope_theta"],
            mrope_section=tuple(rope["mrope_section"]),
            max_positions=text["max_position_embeddings"],
        ),
        model_config.VisionConfig(
            depth=vision["depth"],
            hidden_size=vision["hidden_size"],
            num_heads=vision["num_heads"],
            intermediate_size=vision["intermediate_size"],
            out_hidden_size=vision["out_hidden_size"],
            full_attention_blocks=tuple(vision["fullatt_block_indexes"]),
        ),
        tie_word_embeddings=raw["tie_word_embeddings"],
        image_token_id=raw["image_token_id"],
        video_token_id=raw["video_token_id"],
        vision_start_token_id=587,
        vision_end_token_id=raw["vision_end_token_id"],
    )


def tiny_tensors(tag: str) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint tiny_untied or tiny_tied by their released names."""
    return load_file(GOLDEN / f"tiny_{tag}" / "model.safetensors")


def to_tree(tensors: dict[str, np.ndarray], config: model_config.ModelConfig) -> dict:
    """Parameters (or gradients) as the model's tree; every tensor is used exactly once."""
    left = dict(tensors)
    tree = {"vision": _vision(left, config.vision), "text": _text(left, config)}
    assert not left, f"unused tensors {sorted(left)}"
    return tree


def _stack(left: dict, count: int, name: str, *shape: int) -> np.ndarray:
    return np.stack([_take(left, name.format(i=i), *shape) for i in range(count)])


def _take(left: dict, name: str, *shape: int) -> np.ndarray:
    """A released tensor, a Linear's weight transposed to [in, out], cut into `shape`."""
    tensor = np.asarray(left.pop(name), np.float32)
    tensor = tensor.T if tensor.ndim == 2 and "embed_tokens" not in name else tensor
    return np.ascontiguousarray(tensor.reshape(shape or tensor.shape))


def _vision(left: dict, config: model_config.VisionConfig) -> dict:
    D, N, H, depth = config.hidden_size, config.num_heads, config.head_dim, config.depth
    patch = left.pop("visual.patch_embed.proj.weight").reshape(D, -1).T

    def block(name, *shape):
        return _stack(left, depth, "visual.blocks.{i}." + name, *shape)

    def linear(name, *shape, bias):
        return {"kernel": block(name + ".weight", *shape), "bias": block(name + ".bias", *bias)}

    def merger(name):
        name = "visual.merger." + name
        return {"kernel": _take(left, name + ".weight"), "bias": _take(left, name + ".bias")}

    return {
        "patch_embed": {"kernel": patch},
        "blocks": {
            "norm1": {"scale": block("norm1.weight")},
            "norm2": {"scale": block("norm2.weight")},
            "attention": {
                "qkv": linear("attn.qkv", D, 3, N, H, bias=(3, N, H)),
                "proj": linear("attn.proj", N, H, D, bias=(D,)),
            },
            "mlp": {part: linear(f"mlp.{part}_proj", bias=()) for part in ("gate", "up", "down")},
        },
        "merger": {
            "norm": {"scale": _take(left, "visual.merger.ln_q.weight")},
            "hidden": merger("mlp.0"),
            "out": merger("mlp.2"),
        },
    }


def _text(left: dict, config: model_config.ModelConfig) -> dict:
    text = config.text
    D, H = text.hidden_size, text.head_dim

    def layer(name, *shape):
        return _stack(left, text.num_layers, "model.layers.{i}." + name, *shape)

    def project(name, heads):
        name = f"self_attn.{name}_proj."
        kernel, bias = layer(name + "weight", D, heads, H), layer(name + "bias", heads, H)
        return {"kernel": kernel, "bias": bias}

    tree = {
        "embed": {"embedding": _take(left, "model.embed_tokens.weight")},
        "layers": {
            "norm1": {"scale": layer("input_layernorm.weight")},
            "norm2": {"scale": layer("post_attention_layernorm.weight")},
            "attention": {
                "q": project("q", text.num_heads),
                "k": project("k", text.num_kv_heads),
                "v": project("v", text.num_kv_heads),
                "o": {"kernel": layer("self_attn.o_proj.weight", text.num_heads, H, D)},
            },
            "mlp": {
                part: {"kernel": layer(f"mlp.{part}_proj.weight")}
                for part in ("gate", "up", "down")
            },
        },
        "norm": {"scale": _take(left, "model.norm.weight")},
    }
    if not config.tie_word_embeddings:
        tree["head"] = {"kernel": _take(left, "lm_head.weight")}
    return tree


def of_tree(
    tree: dict, like: dict[str, np.ndarray], config: model_config.ModelConfig
) -> dict[str, np.ndarray]:
    """The inverse of `to_tree`, with names and shapes as in `like`.

    Numbers every element, sends the numbers through `to_tree` and puts values where they came from.
    """
    sizes = [tensor.size for tensor in like.values()]
    ends = np.cumsum(sizes)
    assert ends[-1] < 2**24, "element numbers must be exact in float32"
    numbered = {
        name: np.arange(end - tensor.size, end).reshape(tensor.shape)
        for (name, tensor), end in zip(like.items(), ends)
    }
    flat = np.full(ends[-1], np.nan, np.float32)
    numbers = to_tree(numbered, config)
    jax.tree.map(lambda at, leaf: flat.__setitem__(at.astype(int), np.asarray(leaf)), numbers, tree)
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(like[name].shape) for name, part in zip(like, parts)}
