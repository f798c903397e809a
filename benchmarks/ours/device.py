"""r3jax's programs on one device, with random weights that are made there: what each work calls.

The work is that of `script`: eight questions about an image of 448x448, five episodes each.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import mini, region, script
from benchmarks.ours import loop, plain
from benchmarks.ours import region as ours_region
from benchmarks.ours import update as episodes_of
from r3jax import batches, regions
from r3jax.kernels import region as kernel
from r3jax.model import qwen
from r3jax.model.config import ModelConfig
from r3jax.model.layers import Remat
from r3jax.rollout import crops, programs, sampling
from r3jax.rollout.decode import FOREVER, Until
from r3jax.rollout.state import Arrivals
from r3jax.update import losses, pack, steps
from r3jax.update.state import TrainState, init_state, make_optimizer


class Work(NamedTuple):
    """`call(prepare())` is measured, without what `prepare` takes."""

    call: Callable
    prepare: Callable


def no_preparation() -> None:
    """For works whose call takes nothing new."""


def random_params(config: ModelConfig, dtype, seed: int = 0) -> dict:
    """Weights of a shape, in `dtype`, on the device; the host never holds them."""

    def make(key):
        return jax.tree.map(lambda leaf: leaf.astype(dtype), qwen.init_params(config, key))

    return jax.jit(make)(jax.random.key(seed))


class Rollout:
    """Encoding, prefill and decoding of the script's rows, with the programs of rollouts.

    Each is compiled once, whichever works run it.
    """

    def __init__(self, model: qwen.Qwen25VL, params: dict):
        rules = plain.rules(model.config.text.vocab_size)
        how = sampling.SamplingConfig()
        shape = mini.QUESTIONS, script.EPISODES
        self._run = programs.make_programs(model, rules, how, *shape, loop.BUCKETS)
        self._policy = self._run.policy(params)
        asked = plain.prompts(model.config)
        shown = [one.images[0] for one in asked]
        images, index = batches.pack_images(shown, loop.BUCKETS.images, "images")
        length, image_id = loop.BUCKETS.prompt_tokens[0], model.config.image_token_id
        prompt = batches.pad_prompts(asked, index, length, image_id)
        self._prompt, self._images = jax.device_put((prompt, images))
        self._last = np.array([one.tokens[-1] for one in asked], np.int32)
        self._place = np.array([one.positions[0, -1] for one in asked], np.int32)

    def vision(self) -> Work:
        """The vision tower over the questions' images."""
        return Work(lambda _: self._run.encode(self._policy, self._images), no_preparation)

    def prefill(self) -> Work:
        """The same, and the decoder over the prompts."""
        return Work(lambda _: self._prefill(), no_preparation)

    def decode(self) -> Work:
        """All rows sample as many tokens as the script has them sample, without looks."""
        run, number = self._run, np.arange(mini.QUESTIONS, dtype=np.int32)
        prefix = self._prefill()
        until = Until(script.SAMPLED, FOREVER, FOREVER)

        def prepare():
            keys = run.keys(0, 0, number)
            arrivals = Arrivals(number, prefix, self._last, self._place, keys)
            return run.admit(run.start(loop.BUCKETS.prompt_tokens[0]), arrivals)

        def call(state):
            state = run.decode(self._policy, state, until)
            assert int(state.steps) == script.SAMPLED, int(state.steps)
            return state

        return Work(call, prepare)

    def _prefill(self):
        features = self._run.encode(self._policy, self._images)
        return self._run.prefill(self._policy, self._prompt, features)


def update(model: qwen.Qwen25VL, params: dict, state_dtype, questions: int) -> Work:
    """An R-GRPO update on the episodes of so many questions, their features kept by the rollout.

    `params` are given away; `state_dtype` is that of weights, moments and gradients.
    """
    asked = episodes_of.prompts(model, params)
    written = episodes_of.episodes(model, params, asked)
    batch = pack.pack(
        asked[:questions],
        written[:questions],
        script.advantages()[:questions],
        np.ones((questions, script.EPISODES), bool),
        loop.BUCKETS,
        model.config.image_token_id,
    )
    params = jax.tree.map(lambda leaf: _recast(leaf, state_dtype), params)
    optimizer = make_optimizer(episodes_of.OPTIMIZER, params)
    how = losses.ForwardConfig(), losses.RgrpoConfig()
    loss = functools.partial(losses.rgrpo_loss, model, *how)
    run = jax.jit(functools.partial(steps.step, loss, optimizer), donate_argnums=0)
    allowed = jnp.ones(model.config.text.vocab_size, bool)
    batch, held = jax.device_put(batch), [init_state(params, optimizer)]

    def call(_) -> TrainState:
        held[0], stats, _ = run(held[0], batch, None, None, allowed)
        assert np.isfinite(float(stats["loss"])), stats
        return held[0]

    return Work(call, no_preparation)


def _recast(leaf: jax.Array, dtype) -> jax.Array:
    """The leaf in `dtype`; what it was in another one makes room."""
    made = leaf.astype(dtype)
    if leaf.dtype != made.dtype:
        leaf.delete()
    return made


def with_remat(model: qwen.Qwen25VL, remat: Remat) -> qwen.Qwen25VL:
    """The model, keeping so much for its gradient."""
    return qwen.Qwen25VL(model.config, model.dtype, remat)


def looks(name: str) -> tuple[Work, Work]:
    """The looks of `region` from planes on the device: the kernel alone, and with their placing."""
    way = crops.Way.PALLAS if jax.default_backend() == "tpu" else crops.Way.XLA
    pictures, asked = region.work(name)
    room = crops.room(way, len(pictures))
    originals = crops.put(room, range(len(pictures)), dict(enumerate(pictures)))
    buckets, shown = [region.BUCKETS[name]], ours_region.looks_at(pictures, asked)
    batch, bucket, _ = regions.pack_regions(asked, buckets, name)
    batch, backend = jax.device_put(batch), kernel.Backend(way)

    def alone(_):
        return kernel.cut_regions(originals.planes, batch, bucket.slots, backend)

    def placed(_):
        return crops.cut(originals, [shown], buckets, name)[0]

    return Work(alone, no_preparation), Work(placed, no_preparation)
