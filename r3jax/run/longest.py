"""A step at its longest, as a plan supposes it: how often its programs run, and what it yields."""

import math

from r3jax.model import counts
from r3jax.model.config import ModelConfig
from r3jax.plan.times import Step
from r3jax.rollout import serve
from r3jax.rollout.decode import BURST
from r3jax.run.rgrpo_config import RgrpoRunConfig
from r3jax.run.sft import SftConfig
from r3jax.run.warm import Rollout

LOOKS = 2  # of an episode
LARGE_STACKS = 4  # of weights that one chip lends: three of the MLP, the rest is less than another


def of_rgrpo(config: RgrpoRunConfig, model: ModelConfig, eng: Rollout) -> Step:
    """Every prompt and every episode fills its largest bucket: looks at the largest crop first, and
    what is left is sampled."""
    buckets, rollout = config.buckets, config.rollout
    prompt, suffix = max(buckets.prompt_tokens), max(buckets.suffix_tokens)
    looks = min(LOOKS, (suffix - 1) // buckets.look_tokens)
    sampled = suffix - looks * buckets.look_tokens
    rows = rollout.questions // eng.programs.parts * rollout.episodes
    served = looks * math.ceil(rows / serve.most_at_once(buckets))
    batches = rollout.questions // rollout.arriving
    parts = rollout.questions // config.together
    runs = {
        "reshard": 1,
        **dict.fromkeys(("split", "stack"), LARGE_STACKS),
        "start": 1,
        "grow": len(eng.programs.grow),
        **dict.fromkeys(("keys", "encode-images", "prefill", "admit", "written"), batches),
        "put-image": rollout.questions // eng.programs.parts,
        **dict.fromkeys(("recent", "cut-looks", "encode-looks", "append"), served),
        **dict.fromkeys(("decode", "rows"), math.ceil(sampled / BURST)),
        "reference": parts,
        **_update_runs(parts, config.updates),
    }
    episodes = rollout.questions * rollout.episodes
    flops = config.updates * _update_flops(
        config, model, rollout.questions, rollout.episodes, prompt, suffix, episodes * sampled
    )
    many = "1 look" if looks == 1 else f"{looks} looks"
    supposed = f"episodes of {suffix} tokens with {many} of {buckets.look_tokens}, no refill"
    return Step(runs, episodes * sampled, flops, f"prompts of {prompt} tokens, {supposed}")


def of_sft(config: SftConfig, model: ModelConfig) -> Step:
    """Every prompt and every row fills its largest bucket, all of it trained."""
    prompt, suffix = max(config.buckets.prompt_tokens), max(config.buckets.suffix_tokens)
    tokens = config.batch_size * suffix
    flops = _update_flops(config, model, config.batch_size, 1, prompt, suffix, tokens)
    runs = _update_runs(config.batch_size // config.together, 1)
    return Step(runs, tokens, flops, f"prompts of {prompt} tokens, traces of {suffix}")


def _update_runs(parts: int, updates: int) -> dict[str, int]:
    if parts == 1:
        return {"update": updates}
    return {"zeros": updates, "gradient": updates * parts, "apply": updates}


def _update_flops(
    config: RgrpoRunConfig | SftConfig,
    model: ModelConfig,
    groups: int,
    episodes: int,
    prompt: int,
    suffix: int,
    trained: int,
) -> int:
    """What an update of groups with so many tokens computes in the decoder and the head, but for
    attention, and adapters: the programs' FLOPs are without attention, too."""
    tokens = groups * (prompt + episodes * suffix)
    decoder = counts.decoder_flops(model.text, tokens, pairs=0)
    forward = decoder + counts.head_flops(model.text, trained)
    if config.lora is not None:
        return counts.update_flops(0, passed=forward)
    return counts.update_flops(forward)
