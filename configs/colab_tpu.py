import ml_collections

IMAGE_TOKENS, CROP_TOKENS, TEXT_TOKENS = 1024, 512, 256
IMAGES = {"windows": 80, "slots": 64}
CROPS = {"windows": 50, "slots": 64}


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "kind": "rgrpo",
            "model": "models/Qwen2.5-VL-3B-Instruct",
            "data": "data/rl.jsonl",
            "steps": 300,
            "lora": {"rank": 32, "alpha": 64.0},
            "buckets": {
                "prompt_tokens": (IMAGE_TOKENS + TEXT_TOKENS,),
                "suffix_tokens": (1024,),
                "look_tokens": CROP_TOKENS + 2,
                "images": ({"rows": 1, **IMAGES},),
                "crops": ({"rows": 2, **CROPS},),
                "fill": (0.5, 0.75, 1.0),
                "originals": (1088, 1920),
            },
            "rollout": {"questions": 4, "episodes": 5, "exchange": 1},
            "micro_batch": 1,
            "optimizer": {"learning_rate": 2e-5, "frozen": ("vision",)},
            "logit_chunk": 512,
            "dtype": "bfloat16",
            "remat": "full",
            "checkpoint": {"every": 25, "keep": 2},
        }
    )
