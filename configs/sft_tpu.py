"""The cold start: SFT of Qwen2.5-VL on interleaved traces, on a TPU slice.

    python launch/plan.py --config=configs/sft_tpu.py:v5e-32 --topology=v5e:4x8
    python launch/train.py --config=configs/sft_tpu.py:v5e-32 --workdir=runs/sft

`model` is a released model, `data` traces as README.md says. The first command needs no TPU: it
compiles every program for one, and says what it takes of memory and time.

Numbers are those of the paper, and of the published code where the paper says nothing: 64 rows a
step, 3 epochs of 11,810 rows, learning rate 2e-7, a cosine after 3 % of warm-up, the vision tower
frozen. Departures: larger slices have a row a chip; weights and moments are float32, computing is
bfloat16. On a slice of several hosts the second command runs on each: docs/tpu.md.
"""

import ml_collections

IMAGE_TOKENS, CROP_TOKENS, TEXT_TOKENS = 2048, 1024, 256
# Attention windows of 64 patches, 16 tokens: edges have their own, so that thin images have more.
IMAGES = {"windows": 160, "slots": 64}
CROPS = {"windows": 100, "slots": 64}

# A preset is a slice and the largest model that is meant for it; `fsdp` splits what learns, and
# deals rows, to all chips.
PRESETS = {
    "v4-32": {"size": "7B", "fsdp": 32},
    "v5e-32": {"size": "7B", "fsdp": 32},
    "v5p-16": {"size": "7B", "fsdp": 16},
    "v6e-16": {"size": "7B", "fsdp": 16},
    "v5p-64": {"size": "32B", "fsdp": 64},
    "v5p-128": {"size": "72B", "fsdp": 128},
}


def get_config(preset: str = "v5e-32") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    chosen = ml_collections.ConfigDict(PRESETS[preset])
    batch = max(64, chosen.fsdp)
    steps = 3 * 11810 // batch
    return ml_collections.ConfigDict(
        {
            "kind": "sft",
            "model": f"models/Qwen2.5-VL-{chosen.size}-Instruct",
            "data": "data/sft.jsonl",
            "steps": steps,
            "batch_size": batch,
            "micro_batch": chosen.fsdp,
            "buckets": {
                "prompt_tokens": (IMAGE_TOKENS + TEXT_TOKENS,),
                "suffix_tokens": (1024, 4096),
                "look_tokens": CROP_TOKENS + 2,
                "images": ({"rows": 1, **IMAGES},),
                "crops": ({"rows": 1, **CROPS}, {"rows": 4, **CROPS}),
                "fill": (1.0,),
            },
            "optimizer": {
                "learning_rate": 2e-7,
                "schedule": "cosine",
                "warmup_steps": round(0.03 * steps),
                "total_steps": steps,
                "frozen": ("vision",),
            },
            "logit_chunk": 1024,
            "dtype": "bfloat16",
            "remat": "full",
            "mesh": {"data": 1, "fsdp": chosen.fsdp, "tensor": 1},
            "checkpoint": {"every": 50, "keep": 2},
        }
    )
