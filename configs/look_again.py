"""The demonstration: from the tiny base model, SFT on interleaved traces, then R-GRPO.

    make look-again

or, with an environment of your own,

    python launch/train.py --config=configs/look_again.py --workdir=runs/look_again

Hardware: two CPU cores, no accelerator.
"""

import ml_collections

ONE_LOOK, TWO_LOOKS = 68, 132  # tokens of an episode
CROP = {"rows": 64, "windows": 1, "slots": 16}  # crops of 56x56 pixels, 4 tokens


def buckets(images: int, crops: int, suffix: tuple[int, ...], *fill: float) -> dict:
    return {
        "prompt_tokens": (56,),
        "suffix_tokens": suffix,
        "look_tokens": 20,
        "images": ({"rows": images, "windows": 1, "slots": 64},),
        "crops": ({**CROP, "rows": crops},),
        "fill": (*fill, 1.0),  # episodes of a batch are about as long as each other
    }


def optimizer(learning_rate: float, steps: int, schedule: str, frozen: tuple[str, ...]) -> dict:
    return {
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warmup_steps": 10,
        "total_steps": steps,
        "final_fraction": 0.05,
        "frozen": frozen,
    }


def sft(steps: int, batch: int, suffix: tuple[int, ...], crops: int) -> dict:
    return {
        "model": "",
        "data": "",
        "steps": steps,
        "batch_size": batch,
        "buckets": buckets(batch, crops, suffix, 0.86),
        "optimizer": optimizer(1e-3, steps, "cosine", ()),
        "checkpoint": {"every": 100, "keep": 1},
    }


def get_config() -> ml_collections.ConfigDict:
    questions, episodes = 16, 8
    crops = questions * episodes
    return ml_collections.ConfigDict(
        {
            "kind": "look_again",
            "base": "assets/look_again_base",
            "seed": 0,
            "counts": {"sft": 6000, "rl": 4000, "valid": 256, "test": 640},
            "world": {"two_look_share": 0.4, "questions_per_image": 4},
            # As in machine-written data, a share of the teacher's boxes is off.
            "noise": {
                "off_share": 0.3,
                "max_shift": 0.75,
                # Of signs the teacher mostly boxes the whole surroundings, where only the plate
                # helps: what R-GRPO has to find out.
                "loose_families": ("sign",),
                "loose_share": 0.6,
            },
            "sft": sft(320, 64, (ONE_LOOK, TWO_LOOKS), crops=128),
            "no_crop": sft(320, 64, (12,), crops=1),
            "rgrpo": {
                "model": "",
                "data": "",
                "steps": 120,
                "buckets": buckets(questions, crops, (ONE_LOOK, TWO_LOOKS), 0.7, 0.86),
                "rollout": {"questions": questions, "episodes": episodes},
                # Episodes that never end are worth nothing here, rather than left out: left out,
                # nothing would keep the policy from them.
                "reward": {
                    "preset": "code",
                    "unknown_without_judge": "wrong",
                    "mask_truncated": False,
                },
                # Faster, and R-GRPO forgets what it is rarely rewarded for: sums of two looks.
                "optimizer": optimizer(1e-4, 120, "cosine", ("vision",)),
                # Divided by its deviation, a group with one lucky answer in eight would weigh as
                # much as one that is right half the time.
                "scale_by_std": False,
                "group_by_tag": "looks",
                "checkpoint": {"every": 50, "keep": 1},
            },
            # Of 64 questions 16 come in together, and few wait for crops at the same time.
            "eval_buckets": {
                **buckets(16, 64, (ONE_LOOK, TWO_LOOKS)),
                "crops": ({**CROP, "rows": 16}, {**CROP, "rows": 64}),
            },
            "eval_batch": 64,
        }
    )
