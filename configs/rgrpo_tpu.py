"""R-GRPO of Qwen2.5-VL on a TPU slice, on questions about regions of images.

    python launch/plan.py --config=configs/rgrpo_tpu.py:v5e-32 --topology=v5e:4x8
    python launch/train.py --config=configs/rgrpo_tpu.py:v5e-32 --workdir=runs/rgrpo

`model` is what SFT left (configs/sft_tpu.py), `data` questions as README.md says. The first command
needs no TPU: it compiles every program for one, and says what it takes of memory and time.

Numbers are those of the paper, and of the published code where the paper says nothing: 300 steps,
5 episodes a question, temperature 1, learning rate 1e-6 and constant, no KL, the vision tower
frozen. Departures: a step asks more than 16 questions where there are more chips; weights and
moments are float32, computing is bfloat16. On a slice of several hosts the second command runs on
each: docs/tpu.md.
"""

import ml_collections

IMAGE_TOKENS, CROP_TOKENS, TEXT_TOKENS = 2048, 1024, 256
# Attention windows of 64 patches, 16 tokens: edges have their own, so that thin images have more.
IMAGES = {"windows": 160, "slots": 64}
CROPS = {"windows": 100, "slots": 64}

# A preset is a slice, named by its chips, and the largest model that is meant for it. `fsdp` splits
# what learns over all chips, of which each is dealt as many questions; `tensor` are the chips that
# share a row's heads while it is sampled, so that each has room for its part of weights and cache.
# Where a chip has room for what a layer computes, `remat` keeps it for the gradient.
PRESETS = {
    "v4-32": {"size": "7B", "fsdp": 32, "tensor": 4, "questions": 32},
    "v5e-32": {"size": "7B", "fsdp": 32, "tensor": 4, "questions": 32},
    "v5p-16": {"size": "7B", "fsdp": 16, "tensor": 4, "questions": 16, "remat": "dots"},
    "v6e-16": {"size": "7B", "fsdp": 16, "tensor": 4, "questions": 16},
    "v5p-64": {"size": "32B", "fsdp": 64, "tensor": 4, "questions": 64},
    "v5p-128": {"size": "72B", "fsdp": 128, "tensor": 8, "questions": 128},
}


def get_config(preset: str = "v5e-32") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    chosen = ml_collections.ConfigDict(PRESETS[preset])
    parts = chosen.fsdp // chosen.tensor  # of the chips, that groups are dealt to
    return ml_collections.ConfigDict(
        {
            "kind": "rgrpo",
            "model": f"models/Qwen2.5-VL-{chosen.size}-Instruct",
            "data": "data/rl.jsonl",
            "steps": 300,
            "buckets": {
                "prompt_tokens": (IMAGE_TOKENS + TEXT_TOKENS,),
                "suffix_tokens": (2048,),
                "look_tokens": CROP_TOKENS + 2,
                "images": ({"rows": chosen.questions // parts, **IMAGES},),
                "crops": ({"rows": 10, **CROPS},),
                "fill": (0.5, 0.75, 1.0),
                "originals": (2176, 3840),
            },
            "rollout": {
                "questions": chosen.questions,
                "episodes": 5,
                "tensor": chosen.tensor,
            },
            "optimizer": {"learning_rate": 1e-6, "frozen": ("vision",)},
            "logit_chunk": 1024,
            "dtype": "bfloat16",
            "remat": chosen.get("remat", "full"),
            "mesh": {"data": 1, "fsdp": chosen.fsdp, "tensor": 1},
            "checkpoint": {"every": 25, "keep": 2},
        }
    )
