"""Compiles every program of a run before its first step, from shapes alone: nothing is computed.

Which bucket a step needs follows from what the policy writes, so a bucket may come for the first
time hours into a run. Compiled ahead, it costs no step of it anything.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from r3jax import batches
from r3jax.buckets import Buckets
from r3jax.rollout import serve
from r3jax.rollout.engine import Engine
from r3jax.update.steps import UpdateBatch


def compile_rollout(eng: Engine, params) -> None:
    """Compiles the programs of `eng` for every bucket of prompts, images and crops."""
    run, shapes = eng.programs, eng.buckets
    groups, episodes = eng.config.questions, eng.config.episodes
    row = np.zeros(groups, np.int32)
    states = [compile_for(run.start, row, row, np.zeros(groups, bool))]
    for grow in run.grow:
        states.append(compile_for(grow, states[-1]))
    keys = compile_for(run.keys, 0, 0, row)
    insertion = serve.nothing((groups, episodes), shapes.look_tokens)
    crops = [
        compile_for(run.encode, params, batches.empty_images(bucket)) for bucket in shapes.crops
    ]
    for tokens, bucket in itertools.product(shapes.prompt_tokens, shapes.images):
        features = compile_for(run.encode, params, batches.empty_images(bucket))
        prompt = batches.empty_prompts(groups, tokens)
        prefix = compile_for(run.prefill, params, prompt, features)
        for state in states:
            compile_for(run.decode, params, prefix, state, keys)
            for crop_features in crops:
                compile_for(run.append, params, prefix, state, insertion, crop_features)


def empty_updates(shapes: Buckets, groups: int, episodes: int) -> Iterator[UpdateBatch]:
    """Every shape that a packed batch of groups of episodes may have, with nothing in it."""
    sizes = (shapes.prompt_tokens, shapes.suffix_tokens, shapes.images, shapes.crops)
    for prompt_tokens, suffix_tokens, images, crops in itertools.product(*sizes):
        yield UpdateBatch(
            batches.empty_prompts(groups, prompt_tokens),
            batches.empty_images(images),
            batches.empty_suffixes(groups, episodes, suffix_tokens),
            batches.empty_images(crops),
            np.zeros((groups, episodes), np.float32),
            np.zeros((groups, episodes), bool),
        )


def compile_for(function: Callable, *args) -> Any:
    """Compiles a jitted function for arguments like `args`; returns the shapes of its result.

    A later call with such arguments finds the program: JAX keeps it with the function's trace.
    """
    lowered = function.lower(*args)
    lowered.compile()
    return jax.tree.map(lambda out: jax.ShapeDtypeStruct(out.shape, out.dtype), lowered.out_info)
