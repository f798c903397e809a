"""The small model and the shapes that all comparisons on CPU share: 48.7 million parameters."""

import pathlib

import jax
import numpy as np

from r3jax import patches
from r3jax.checkpoint import hf
from r3jax.checkpoint.hf_config import HFExtras
from r3jax.data import tokenizer
from r3jax.model import qwen
from r3jax.model.config import ModelConfig, TextConfig, VisionConfig

BESIDE = pathlib.Path(__file__).parents[1] / "assets" / "look_again_base"  # for its tokenizer
QUESTIONS = 8
IMAGE_SIDE = 448  # pixels
IMAGE_TOKENS = (IMAGE_SIDE // patches.FACTOR) ** 2
TEXT_TOKENS = 64  # of a prompt, besides its image and the image's two framing tokens
PROMPT_TOKENS = TEXT_TOKENS + IMAGE_TOKENS + 2


def config(ids: tokenizer.SpecialIds) -> ModelConfig:
    """The configuration of the model, with a tokenizer's special ids."""
    return ModelConfig(
        TextConfig(
            vocab_size=16384,
            hidden_size=512,
            num_layers=8,
            num_heads=8,
            num_kv_heads=2,
            intermediate_size=1408,
            head_dim=64,
            mrope_section=(8, 12, 12),
            max_positions=4096,
        ),
        VisionConfig(
            depth=8,
            hidden_size=384,
            num_heads=6,
            intermediate_size=1024,
            out_hidden_size=512,
            full_attention_blocks=(1, 3, 5, 7),
        ),
        tie_word_embeddings=True,
        image_token_id=ids.image_pad,
        video_token_id=ids.video_pad,
        vision_start_token_id=ids.vision_start,
        vision_end_token_id=ids.vision_end,
    )


def write(directory: str | pathlib.Path, seed: int = 0) -> pathlib.Path:
    """Writes the model with random weights as a Hugging Face directory that both sides read."""
    ids = tokenizer.Tokenizer.from_dir(BESIDE).ids
    made = config(ids)
    params = qwen.init_params(made, jax.random.key(seed))
    extras = HFExtras(ids.endoftext, ids.im_end, ids.endoftext, ids.vision_pad, "float32")
    hf.save_hf(directory, made, params, carry_from=BESIDE, extras=extras)
    return pathlib.Path(directory)


def pictures(count: int, side: int = IMAGE_SIDE, seed: int = 0) -> list[np.ndarray]:
    """Pictures of noise, uint8 [side, side, 3] each."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def words(rows: int, length: int, seed: int = 0) -> np.ndarray:
    """Ids of ordinary tokens, int32 [rows, length]."""
    return np.random.default_rng(seed).integers(1, 256, (rows, length), dtype=np.int32)


def prompts(config) -> np.ndarray:
    """An image, then words: ids int32 [QUESTIONS, PROMPT_TOKENS]; `config` is either side's."""
    ids = np.full((QUESTIONS, PROMPT_TOKENS), config.image_token_id, np.int32)
    ids[:, 0] = config.vision_start_token_id
    ids[:, IMAGE_TOKENS + 1] = config.vision_end_token_id
    ids[:, IMAGE_TOKENS + 2 :] = words(QUESTIONS, TEXT_TOKENS)
    return ids
