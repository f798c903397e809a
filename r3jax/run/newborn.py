"""A new model: tokenizer learnt from texts, random weights, everything in Hugging Face layout."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

from r3jax import patches, paths
from r3jax.checkpoint import hf
from r3jax.checkpoint.hf_config import HFExtras
from r3jax.data import chat, chat_file, tokenizer
from r3jax.model import qwen
from r3jax.model.config import ModelConfig, TextConfig, VisionConfig


@dataclasses.dataclass(frozen=True)
class Shape:
    """The numbers of a small model; the vocabulary comes with the tokenizer.

    `merges` is how many pieces the tokenizer learns beyond bytes; `vocab_multiple` pads the table.
    """

    text_layers: int
    text_width: int
    text_heads: int
    text_kv_heads: int
    text_mlp: int
    mrope_section: tuple[int, int, int]
    rope_theta: float
    vision_depth: int
    vision_width: int
    vision_heads: int
    vision_mlp: int
    full_attention_blocks: tuple[int, ...]
    merges: int = 300
    vocab_multiple: int = 64


def model_config(shape: Shape, ids: tokenizer.SpecialIds, vocab_size: int) -> ModelConfig:
    """Returns the configuration of a tied model with the tokenizer's special ids."""
    padded = -(-vocab_size // shape.vocab_multiple) * shape.vocab_multiple
    text = TextConfig(
        vocab_size=padded,
        hidden_size=shape.text_width,
        num_layers=shape.text_layers,
        num_heads=shape.text_heads,
        num_kv_heads=shape.text_kv_heads,
        intermediate_size=shape.text_mlp,
        head_dim=shape.text_width // shape.text_heads,
        rope_theta=shape.rope_theta,
        mrope_section=shape.mrope_section,
        max_positions=4096,
    )
    vision = VisionConfig(
        depth=shape.vision_depth,
        hidden_size=shape.vision_width,
        num_heads=shape.vision_heads,
        intermediate_size=shape.vision_mlp,
        out_hidden_size=shape.text_width,
        full_attention_blocks=shape.full_attention_blocks,
    )
    return ModelConfig(
        text,
        vision,
        tie_word_embeddings=True,
        image_token_id=ids.image_pad,
        video_token_id=ids.video_pad,
        vision_start_token_id=ids.vision_start,
        vision_end_token_id=ids.vision_end,
    )


def write(
    directory: str | Path,
    shape: Shape,
    form: chat.ChatFormat,
    texts: Iterable[str],
    images: Sequence[np.ndarray],
    seed: int,
) -> Path:
    """Writes a new model directory; `texts` teach the tokenizer, `images` the patch embedding."""
    directory = paths.of(directory)
    beside = directory.with_name(directory.name + ".tokenizer")
    learnt = tokenizer.train_tokenizer(texts, shape.merges, beside)
    config = model_config(shape, learnt.ids, learnt.vocab_size)
    params = qwen.init_params(config, jax.random.key(seed))
    kernel = whitening(images, config.vision.hidden_size)
    params["vision"]["patch_embed"]["kernel"] = kernel
    ids = learnt.ids
    write_processor(beside, form, ids)
    extras = HFExtras(ids.endoftext, ids.im_end, ids.endoftext, ids.vision_pad, "float32")
    said = {chat_file.FILE_NAME: chat_file.to_text(form)}
    hf.save_hf(directory, config, params, carry_from=beside, extras=extras, beside=said)
    return directory


def whitening(images: Sequence[np.ndarray], width: int, floor: float = 1e-4) -> np.ndarray:
    """Returns a patch embedding [C, width] that makes patches of `images` uncorrelated.

    Its columns are the leading principal components of patches, each scaled to unit variance
    (plus `floor` of the largest, against noise). Without it the mean colour of a patch drowns
    everything else, and small print is learnt late or never. Source: our own choice, after the
    whitening first layers of fast CIFAR training.
    """
    samples = np.concatenate([patches.patchify(image) for image in images]).astype(np.float64)
    variance, directions = np.linalg.eigh(np.cov(samples.T))
    variance, directions = variance[::-1][:width], directions[:, ::-1][:, :width]
    return (directions / np.sqrt(variance + floor * variance[0])).astype(np.float32)


def write_processor(directory: Path, form: chat.ChatFormat, ids: tokenizer.SpecialIds) -> None:
    """Writes what Transformers needs beside tokenizer and weights, in the released layout."""
    processor = {
        "min_pixels": form.image_bounds.min_pixels,
        "max_pixels": form.image_bounds.max_pixels,
        "patch_size": patches.PATCH,
        "temporal_patch_size": patches.TEMPORAL,
        "merge_size": patches.MERGE,
        "image_mean": list(patches.MEAN),
        "image_std": list(patches.STD),
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
    }
    files = {
        "preprocessor_config.json": processor,
        "chat_template.json": {"chat_template": chat.chat_template(form)},
        "generation_config.json": {
            "bos_token_id": ids.endoftext,
            "eos_token_id": [ids.im_end, ids.endoftext],
            "pad_token_id": ids.endoftext,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
