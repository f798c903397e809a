"""r3jax's R-GRPO update of the script's 40 episodes, from records to new parameters."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import mini, script
from benchmarks.ours import loop, plain
from r3jax import batches, host, patches, positions
from r3jax.records import Episode, Look, LookOutcome, Prompt, Source, Stop
from r3jax.run import pretrained
from r3jax.update import losses, pack, steps
from r3jax.update.state import OptimizerConfig, init_state, make_optimizer

CROP_GRID = (script.CROP_SIDE // patches.FACTOR,) * 2
OPTIMIZER = OptimizerConfig(learning_rate=1e-6, clip_norm=1.0, frozen=("vision",))


def prompts(net, params) -> list[Prompt]:
    """The peer's prompts, with the features that a rollout keeps of their images."""
    asked = plain.prompts(net.config)
    images, index = batches.pack_images(
        [one.images[0] for one in asked], loop.BUCKETS.images, "images"
    )
    table = encode(net, params, images)
    return [dataclasses.replace(one, features=table[i]) for one, i in zip(asked, index)]


def episodes(net, params, asked: list[Prompt]) -> list[list[Episode]]:
    """The script's episodes after each prompt, with the features of their crops."""
    rows = script.rows()
    crops = [
        script.crop(asked[q].images[0], q, e, look) for q, e in rows for look in range(script.LOOKS)
    ]
    table = []
    for begin in range(0, len(crops), loop.ROWS):
        part = crops[begin : begin + loop.ROWS]
        images, index = batches.pack_images(part, loop.BUCKETS.crops, "crops")
        encoded = encode(net, params, images)
        table += [encoded[i] for i in index]
    seen = iter([Look("", LookOutcome.OK, features=features) for features in table])
    sampled = script.sampled()
    made = {
        row: episode(net.config, asked[row[0]], sampled[row], [next(seen), next(seen)])
        for row in rows
    }
    return [[made[q, e] for e in range(script.EPISODES)] for q in range(mini.QUESTIONS)]


def episode(config, prompt: Prompt, turns: np.ndarray, looks: list[Look]) -> Episode:
    """An episode of the script as a record."""
    tokens = script.sequence(config, prompt.tokens, turns)[len(prompt.tokens) :]
    source = np.where(script.is_sampled()[len(prompt.tokens) :], Source.SAMPLED, Source.FORCED)
    source = np.where(tokens == config.image_token_id, Source.IMAGE, source).astype(np.int8)
    where, _ = positions.rope_index(
        tokens, [CROP_GRID] * len(looks), config.image_token_id, prompt.next_position
    )
    zeros = np.zeros(len(tokens), np.float32)
    return Episode(tokens, source, where, zeros, tuple(looks), Stop.TURNS, "", None)


def encode(net, params, images) -> np.ndarray:
    """Features of images, on the host."""
    return np.asarray(_encode(net, params, images))


@functools.partial(jax.jit, static_argnums=0)
def _encode(net, params, images):
    return net.apply({"params": params}, images, method="encode")


def rgrpo(directory: str, dtype: str) -> tuple[dict, dict[str, Callable[[], dict]]]:
    """Sets up an update of the 40 episodes, and one of eight that share nothing ("single")."""
    host.keep_freed_memory()
    start = pretrained.load(directory)
    net = start.model(dtype=jnp.dtype(dtype))
    optimizer = make_optimizer(OPTIMIZER, start.params)
    how = losses.ForwardConfig(), losses.RgrpoConfig()
    loss = functools.partial(losses.rgrpo_loss, net, *how)
    run = jax.jit(functools.partial(steps.step, loss, optimizer), donate_argnums=0)
    allowed = np.ones(net.config.text.vocab_size, bool)
    asked = prompts(net, start.params)
    written = episodes(net, start.params, asked)
    advantage = script.advantages()

    def update(number: int, held: list) -> dict[str, float]:
        batch = pack.pack(
            asked,
            [group[:number] for group in written],
            advantage[:, :number],
            np.ones((len(asked), number), bool),
            loop.BUCKETS,
            net.config.image_token_id,
        )
        held[0], stats, _ = run(held[0], batch, None, None, allowed)
        jax.block_until_ready(held[0])
        return {name: float(value) for name, value in stats.items()}

    def fresh() -> list:
        return [init_state(jax.tree.map(jnp.array, start.params), optimizer)]

    return plain.versions(), {
        "update": functools.partial(update, script.EPISODES, fresh()),
        "single": functools.partial(update, 1, fresh()),
    }
