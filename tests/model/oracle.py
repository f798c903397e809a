"""Qwen2.5-VL of Transformers, the oracle: random models, and the same questions put to them."""

from collections.abc import Sequence

import numpy as np
import torch
import transformers

from r3jax import patches
from r3jax.model.config import ModelConfig
from tests.model import released, sequences


def build(config: ModelConfig):
    """A Transformers model of this configuration in float32, its parameters not yet set."""
    text, vision = config.text, config.vision
    hf_config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_layers,
            "num_attention_heads": text.num_heads,
            "num_key_value_heads": text.num_kv_heads,
            "rms_norm_eps": text.rms_norm_eps,
            "rope_theta": text.rope_theta,
            "rope_scaling": {"type": "mrope", "mrope_section": list(text.mrope_section)},
            "max_position_embeddings": text.max_positions,
            "use_sliding_window": False,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        },
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_heads": vision.num_heads,
            "out_hidden_size": vision.out_hidden_size,
            "fullatt_block_indexes": list(vision.full_attention_blocks),
            "window_size": vision.window_size,
            "patch_size": vision.patch_size,
            "spatial_merge_size": vision.merge_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "tokens_per_second": vision.tokens_per_second,
        },
        image_token_id=config.image_token_id,
        video_token_id=config.video_token_id,
        vision_start_token_id=config.vision_start_token_id,
        vision_end_token_id=config.vision_end_token_id,
        tie_word_embeddings=config.tie_word_embeddings,
        attn_implementation="eager",
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(hf_config).float().eval()


def tiny(tag: str):
    """The Transformers model of the checkpoint tiny_untied or tiny_tied."""
    return transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(
        released.GOLDEN / f"tiny_{tag}", dtype=torch.float32, attn_implementation="eager"
    ).eval()


def randomise(model, seed: int) -> None:
    """Gives every parameter random values that matter: norms off one, biases off zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                values = values * 0.2 + (0.0 if name.endswith("bias") else 1.0)
            elif "embed_tokens" in name or name == "lm_head.weight":
                values = values * 0.35
            else:
                values = values * (1.3 / np.sqrt(parameter[0].numel()))
            parameter.copy_(values)
    model.tie_weights()


def _released_name(name: str) -> str:
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def tensors(model) -> dict[str, np.ndarray]:
    """Parameters by their released names."""
    return {_released_name(n): p.detach().numpy() for n, p in model.named_parameters()}


def gradients(model) -> dict[str, np.ndarray]:
    """Gradients by the released names of their parameters (zero where none arrived)."""
    return {
        _released_name(name): np.zeros(p.shape, np.float32) if p.grad is None else p.grad.numpy()
        for name, p in model.named_parameters()
    }


def _vision_inputs(images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    grids = [
        (1, image.shape[0] // patches.PATCH, image.shape[1] // patches.PATCH) for image in images
    ]
    return {
        "pixel_values": torch.from_numpy(np.concatenate([pixels(image) for image in images])),
        "image_grid_thw": torch.tensor(grids),
    }


def pixels(image: np.ndarray) -> np.ndarray:
    """What Transformers' image processor makes of an image whose sides are multiples of 28."""
    processor = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 2**24}
    )
    return processor(images=[image], return_tensors="np")["pixel_values"]


def features(model, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Features of each picture in raster order, seen in one call."""
    given = _vision_inputs(images)
    with torch.no_grad():
        out = model.model.visual(given["pixel_values"], grid_thw=given["image_grid_thw"])
    counts = [image.shape[0] * image.shape[1] // patches.FACTOR**2 for image in images]
    return np.split(out.pooler_output.numpy(), np.cumsum(counts)[:-1])


def logits(model, tokens: np.ndarray, images: Sequence[np.ndarray]) -> torch.Tensor:
    """Logits [T, V] of one sequence, without a cache."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    model.model.rope_deltas = None  # kept from call to call otherwise
    is_image = (ids == model.config.image_token_id).int()
    given = {**_vision_inputs(images), "mm_token_type_ids": is_image} if len(images) else {}
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given)
    return out.logits[0]


def positions(model, tokens: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
    """M-RoPE positions [3, T]."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    is_image = (ids == model.config.image_token_id).int()
    grids = _vision_inputs(images)["image_grid_thw"] if len(images) else None
    index, _ = model.model.get_rope_index(ids, is_image, image_grid_thw=grids)
    return index[:, 0].numpy()


def token_logprobs(logits: torch.Tensor, tokens: np.ndarray) -> torch.Tensor:
    """Log-probability of each token but the first, [T - 1]."""
    logp = torch.log_softmax(logits[:-1], -1)
    return logp.gather(-1, torch.from_numpy(tokens[1:, None].astype(np.int64)))[:, 0]


def backward(model, tokens: np.ndarray, images: Sequence[np.ndarray], weight: np.ndarray) -> float:
    """Fills the gradients of the loss of `sequences.loss` and returns the loss."""
    model.zero_grad(set_to_none=True)
    logp = token_logprobs(logits(model, tokens, images), tokens)
    w = torch.from_numpy(weight[1:])
    loss = -(logp * w).sum() / w.sum()
    loss.backward()
    return float(loss.detach())


def greedy(
    model, tokens: np.ndarray, images: Sequence[np.ndarray], count: int, allowed: int
) -> np.ndarray:
    """The next `count` likeliest tokens below `allowed`, with Transformers' own cache."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    model.model.rope_deltas = None
    suppressed = list(range(allowed, model.config.text_config.vocab_size))
    is_image = (ids == model.config.image_token_id).int()
    given = {**_vision_inputs(images), "mm_token_type_ids": is_image} if len(images) else {}
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        min_new_tokens=count,
        suppress_tokens=suppressed,
        pad_token_id=0,
        **given,
    )
    return out[0, len(tokens) :].numpy().astype(np.int32)


def look_again(
    model, tokens: np.ndarray, images: Sequence[np.ndarray], looks, allowed: int, config
) -> tuple[np.ndarray, float]:
    """Greedy tokens with images put in between: `looks` are (tokens before it, image or None).

    Each step runs the whole sequence anew. Returns the suffix and the smallest lead of a choice.
    """
    suffix, images, lead = tokens[:0], list(images), np.inf
    for count, image in looks:
        for _ in range(count):
            with torch.no_grad():
                last = logits(model, np.concatenate([tokens, suffix]), images)[-1, :allowed]
            best, second = last.topk(2).values
            lead = min(lead, float(best - second))
            suffix = np.append(suffix, np.int32(last.argmax()))
        if image is not None:
            suffix = np.concatenate([suffix, sequences.image_tokens(image, config)])
            images.append(image)
    return suffix, lead
