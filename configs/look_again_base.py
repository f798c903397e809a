"""The tiny base model of the look-again world, pre-trained from nothing on perception.

It plays the part of Qwen2.5-VL-7B in the demonstration: the same code, smaller numbers. It learns
to find places by words and give their boxes, to tell what is there, to add small numbers, and to
read enlarged small print; it never sees a trace that looks again.

    python launch/train.py --config=configs/look_again_base.py --workdir=runs/look_again_base
"""

import ml_collections

IMAGE_TOKENS = 16  # of the largest image, 112x112 pixels
CROP_TOKENS = 4  # of the largest crop, 56x56 pixels
SEEING, POINTING, BOXES, ALL, TELLING = 900, 600, 450, 1300, 400  # steps of the stages


def stages() -> tuple[dict, ...]:
    # Seeing comes first and alone. Then the tower stands still while the decoder learns to
    # find a place by the word that names it, and its box; then all learns together.
    return (
        {"steps": SEEING, "tasks": {"point": 1.0}, "scenes": 0.0, "prints": 0.0},
        {"steps": POINTING, "tasks": {"point": 1.0}, "vision": False, "prints": 0.0},
        {
            "steps": BOXES,
            "tasks": {"point": 0.3, "where": 0.3, "locate": 2.0, "both": 1.0},
            "vision": False,
            "prints": 0.3,
        },
        {
            "steps": ALL,
            "tasks": {"locate": 3.0, "both": 2.0, "reckon": 1.0, "caption": 0.3},
            "dense": 0.3,
            "schedule": "cosine",
        },
        # What longer answers need: to go on with the second name, to work out a sum.
        {
            "steps": TELLING,
            "tasks": {"tell": 1.5, "locate": 1.0, "sums": 2.5, "reckon": 0.3},
            "dense": 0.3,
            "schedule": "cosine",
            "rate": 0.5,
        },
    )


def buckets(images: int, slots: int, prompt_tokens: int, suffix_tokens: tuple[int, ...]) -> dict:
    return {
        "prompt_tokens": (prompt_tokens,),
        "suffix_tokens": suffix_tokens,
        "look_tokens": 16,
        "images": ({"rows": images, "windows": 1, "slots": slots},),
        "crops": ({"rows": 1, "windows": 1, "slots": 4 * CROP_TOKENS},),
        "fill": (1.0,),  # lessons of a kind are equally long: more shapes would not pay
    }


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "kind": "pretrain",
            "seed": 0,
            "shape": {
                "text_layers": 4,
                "text_width": 128,
                "text_heads": 4,
                "text_kv_heads": 2,
                "text_mlp": 384,
                "mrope_section": (4, 6, 6),
                # High enough that some pairs hardly turn over a prompt: content is matched there.
                "rope_theta": 1e4,
                "vision_depth": 4,
                "vision_width": 96,
                "vision_heads": 4,
                "vision_mlp": 288,
                "full_attention_blocks": (1, 3),
            },
            "form": {
                "system": None,
                "instruction": "",
                "image_bounds": {"min_pixels": 28 * 28, "max_pixels": IMAGE_TOKENS * 28 * 28},
                "look_rules": {
                    "crop": {"min_pixels": 28 * 28, "max_pixels": CROP_TOKENS * 28 * 28},
                    "max_looks": 4,
                },
            },
            "plan": {"pictures": 24, "per_picture": 4, "prints": 48, "pool": 8000},
            "stages": stages(),
            "scene_buckets": buckets(24, 4 * IMAGE_TOKENS, 48, (8, 20, 40, 80, 96, 208)),
            "print_buckets": buckets(48, 4 * CROP_TOKENS, 24, (8,)),
            "optimizer": {
                "learning_rate": 2e-3,
                "warmup_steps": 30,
                "final_fraction": 0.02,
                "weight_decay": 0.01,
                "frozen": (),
            },
            "valid_every": 365,  # ten times, after the last step too
            "checkpoint": {"every": 250, "keep": 1},
        }
    )
