"""What an update needs at its peak does not grow with vocabulary times tokens."""

import functools

import jax
import numpy as np
import pytest

from r3jax import batches, patches
from r3jax.buckets import ImageBucket
from r3jax.model import config, qwen
from r3jax.model.stream import lay_out
from r3jax.update import losses, objective, state, steps

VOCAB = 152_064
GROUPS, EPISODES = 2, 4
PROMPT_TOKENS = 16
WHOLE = 10**9  # tokens of a chunk: all that there are


def model() -> qwen.Qwen25VL:
    """Two small layers below a head of the real size."""
    text = config.TextConfig(VOCAB, 256, 2, 4, 2, 512, 64, 1e-6, 1e6, (8, 12, 12))
    vision = config.VisionConfig(2, 32, 2, 64, 256, (1,))
    return qwen.Qwen25VL(config.ModelConfig(text, vision, True, 1, 2, 3, 4))


def empty_batch(tokens: int) -> losses.UpdateBatch:
    """Groups with so many places for episodes in all, as shapes."""
    length = tokens // (GROUPS * EPISODES)
    prompt = batches.empty_prompts(GROUPS, PROMPT_TOKENS)
    suffix = batches.empty_suffixes(GROUPS, EPISODES, length)
    lengths = prompt.mask.sum(1), suffix.valid.sum(2)
    stream = lay_out(*lengths, PROMPT_TOKENS, length, prompt.mask.size + tokens)
    shown = (batches.empty_images(ImageBucket(1, 1, patches.UNIT)),)
    shape = (GROUPS, EPISODES)
    return losses.UpdateBatch(
        prompt,
        suffix,
        stream,
        shown,
        np.zeros(shape, np.float32),
        np.ones(shape, bool),
        objective.totals(),
    )


def peak(tokens: int, chunk: int) -> int:
    """Bytes of temporaries of an R-GRPO update, as the compiler lays them out."""
    net = model()
    params = qwen.abstract_params(net.config)
    optimizer = state.make_optimizer(state.OptimizerConfig(1e-6, frozen=("vision",)), params)
    held = jax.eval_shape(functools.partial(state.init_state, optimizer=optimizer), params)
    forward = losses.ForwardConfig(logit_chunk=chunk)
    loss = functools.partial(losses.rgrpo_loss, net, forward, losses.RgrpoConfig())
    step = functools.partial(steps.step, loss, optimizer)
    allowed = np.ones(VOCAB, bool)
    lowered = jax.jit(step, donate_argnums=0).lower(held, empty_batch(tokens), None, None, allowed)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_the_default_chunk_needs_under_two_fifths_of_what_all_logits_need():
    chunk = losses.ForwardConfig().logit_chunk
    whole, chunked = peak(4096, WHOLE), peak(4096, chunk)
    assert chunked < 0.4 * whole, f"{chunked / 1e9:.2f} of {whole / 1e9:.2f} GB"
    longer = peak(8192, chunk) - chunked
    assert longer < 0.1 * 4096 * VOCAB * 4, f"{longer / 1e9:.2f} GB more for 4,096 tokens more"
