"""Qwen2.5-VL-3B on one TPU chip of 16 GB, such as a v5e of Colab: adapters learn, nothing else.

    python launch/plan.py --config=configs/colab_tpu.py:sft --topology=v5e:1x1
    python launch/train.py --config=configs/colab_tpu.py:sft --workdir=runs/sft
    python launch/train.py --config=configs/colab_tpu.py:rgrpo --workdir=runs/rgrpo

The cold start, then R-GRPO, which goes on with the adapters of `adapters`, the workdir of the cold
start: `model` is the released model of both, `data` traces and questions as README.md says. Either
leaves a model without adapters in `export/` of its workdir. The first command needs no TPU.

Numbers are those of configs/sft_tpu.py and configs/rgrpo_tpu.py but for what adapters need. Rank 32
on all products of the decoder; learning rates of 1e-4, as is customary, and for R-GRPO ten times
that of full training (Schulman et al. 2025, LoRA Without Regret). A step is smaller: 16 rows, or 4
questions. The base is bfloat16, adapters and their moments are float32. Predicted for a v5e: half a
minute a step of either at its longest (docs/tpu.md). Neither has run on a chip.
"""

import ml_collections

IMAGE_TOKENS, CROP_TOKENS, TEXT_TOKENS = 2048, 1024, 256
# Attention windows of 64 patches, 16 tokens: edges have their own, so that thin images have more.
IMAGE = {"rows": 1, "windows": 160, "slots": 64}
CROP = {"windows": 100, "slots": 64}
MODEL = "models/Qwen2.5-VL-3B-Instruct"


def common() -> dict:
    return {
        "model": MODEL,
        "lora": {"rank": 32, "alpha": 32.0},
        "micro_batch": 1,
        "logit_chunk": 512,
        "dtype": "bfloat16",
        "remat": "full",
        "checkpoint": {"every": 25, "keep": 2},
    }


def sft() -> dict:
    rows, steps = 16, 3 * 11810 // 16
    return {
        **common(),
        "kind": "sft",
        "data": "data/sft.jsonl",
        "steps": steps,
        "batch_size": rows,
        "buckets": {
            "prompt_tokens": (IMAGE_TOKENS + TEXT_TOKENS,),
            "suffix_tokens": (1024, 4096),
            "look_tokens": CROP_TOKENS + 2,
            "images": (IMAGE,),
            "crops": ({"rows": 1, **CROP}, {"rows": 4, **CROP}),
            "fill": (1.0,),
        },
        "optimizer": {
            "learning_rate": 1e-4,
            "schedule": "cosine",
            "warmup_steps": round(0.03 * steps),
            "total_steps": steps,
            "frozen": ("vision",),
        },
    }


def rgrpo() -> dict:
    return {
        **common(),
        "kind": "rgrpo",
        "adapters": "runs/sft",
        "data": "data/rl.jsonl",
        "steps": 300,
        "buckets": {
            "prompt_tokens": (IMAGE_TOKENS + TEXT_TOKENS,),
            "suffix_tokens": (2048,),
            "look_tokens": CROP_TOKENS + 2,
            "images": (IMAGE,),
            "crops": ({"rows": 2, **CROP},),
            "fill": (0.5, 0.75, 1.0),
            "originals": (2176, 3840),
        },
        "rollout": {"questions": 4, "episodes": 5, "exchange": 1},
        "optimizer": {"learning_rate": 1e-5, "frozen": ("vision",)},
    }


PRESETS = {"sft": sft, "rgrpo": rgrpo}


def get_config(preset: str = "rgrpo") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    return ml_collections.ConfigDict(PRESETS[preset]())
