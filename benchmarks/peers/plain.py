"""Transformers' Qwen2.5-VL as it is: forward, generate, a step of AdamW."""

import os
from collections.abc import Callable

import numpy as np
import torch
import transformers

from benchmarks import mini, model
from r3jax import patches


def load(directory: str, dtype: str = "float32"):
    """The model of a directory, on as many threads as there are cores."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    loaded = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(
        directory, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    return loaded.eval()


def versions() -> dict[str, str]:
    """What ran, for the table."""
    return {"torch": torch.__version__, "transformers": transformers.__version__}


def inputs(ids: np.ndarray, pixels: list[np.ndarray], config, dtype) -> dict[str, torch.Tensor]:
    """What a forward pass takes: token ids [B, T], flat patches of each image in order."""
    given = torch.from_numpy(ids.astype(np.int64))
    sides = [int(len(one) ** 0.5) for one in pixels]
    return {
        "input_ids": given,
        "attention_mask": torch.ones_like(given),
        "pixel_values": torch.from_numpy(np.concatenate(pixels)).to(dtype),
        "image_grid_thw": torch.tensor([(1, side, side) for side in sides]),
        "mm_token_type_ids": (given == config.image_token_id).int(),
    }


def plain(directory: str, dtype: str) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up the work of `benchmarks.model`."""
    net = load(directory, dtype)
    # Bit for bit what Transformers' image processor makes of them (tests/test_patches.py).
    pixels = [patches.patchify(image) for image in mini.pictures(mini.QUESTIONS)]
    given = inputs(mini.prompts(net.config), pixels, net.config, net.dtype)
    words = torch.from_numpy(mini.words(*model.TRAINED, seed=1).astype(np.int64))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.1)
    suppressed = [net.config.image_token_id, net.config.video_token_id]

    def vision():
        with torch.no_grad():
            net.model.visual(given["pixel_values"], grid_thw=given["image_grid_thw"])

    def prefill():
        net.model.rope_deltas = None  # sticky from call to call
        with torch.no_grad():
            net(**given, use_cache=True, logits_to_keep=1)

    def generate():
        net.model.rope_deltas = None
        count = model.GENERATED
        out = net.generate(
            **given,
            do_sample=False,
            max_new_tokens=count,
            min_new_tokens=count,
            suppress_tokens=suppressed,
            pad_token_id=0,
        )
        assert out.shape[1] == mini.PROMPT_TOKENS + count

    def train_text():
        net.model.rope_deltas = None
        net.train()
        optimizer.zero_grad(set_to_none=True)
        ones = torch.ones_like(words)
        net(input_ids=words, attention_mask=ones, labels=words, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        net.eval()

    work = {"vision": vision, "prefill": prefill, "generate": generate, "train_text": train_text}
    return versions(), work
