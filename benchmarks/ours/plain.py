"""r3jax's programs for the plain model: encode, prefill, decode, a step of SFT."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import mini, model
from r3jax import batches, host, patches, positions
from r3jax.buckets import Buckets, ImageBucket
from r3jax.model import qwen
from r3jax.records import Prompt
from r3jax.rollout import programs, sampling
from r3jax.rollout.decode import FOREVER, Until
from r3jax.rollout.state import Arrivals
from r3jax.run import pretrained
from r3jax.update import losses, objective, pack, steps
from r3jax.update.state import OptimizerConfig, init_state, make_optimizer

SIDE = mini.IMAGE_SIDE // patches.FACTOR  # of an image, in tokens
WINDOWS = (SIDE // patches.WINDOW) ** 2
SLOTS = patches.UNIT * patches.WINDOW**2
BUCKETS = Buckets(
    prompt_tokens=(mini.PROMPT_TOKENS - 1,),  # the last token starts the suffix
    suffix_tokens=(model.GENERATED,),
    look_tokens=1,
    images=(ImageBucket(mini.QUESTIONS, WINDOWS, SLOTS),),
    crops=(ImageBucket(1, 1, patches.UNIT),),
)


def versions() -> dict[str, str]:
    """What ran, for the table."""
    return {"jax": jax.__version__}


def rules(vocab_size: int) -> programs.TokenRules:
    """Bytes only, and none that stops or ends anything."""
    ids = np.arange(vocab_size)
    return programs.TokenRules(
        (ids > 0) & (ids < 256), np.zeros((1, vocab_size), np.int32), np.array([0])
    )


def prompts(config) -> list[Prompt]:
    """An image, then words, as the peer has them."""
    made = []
    for image, tokens in zip(mini.pictures(mini.QUESTIONS), mini.prompts(config)):
        where, after = positions.rope_index(tokens, [(SIDE, SIDE)], config.image_token_id)
        made.append(Prompt(tokens, where, (image,), after))
    return made


def plain(directory: str, dtype: str) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up the work of `benchmarks.model`."""
    host.keep_freed_memory()
    start = pretrained.load(directory)
    net = start.model(dtype=jnp.dtype(dtype))
    policy = jax.jit(functools.partial(qwen.make_policy, net))(start.params)
    asked = prompts(start.config)
    images, index = batches.pack_images([one.images[0] for one in asked], BUCKETS.images, "images")
    image_id = start.config.image_token_id
    prompt = batches.pad_prompts(asked, index, BUCKETS.prompt_tokens[0], image_id)
    prompt, images = jax.device_put((prompt, images))
    last = np.array([one.tokens[-1] for one in asked], np.int32)
    place = np.array([one.positions[0, -1] for one in asked], np.int32)

    def answering(tokens: int) -> tuple[programs.Programs, Callable[[], None]]:
        greedy = sampling.SamplingConfig(temperature=0.0)
        made_rules = rules(start.config.text.vocab_size)
        shapes = dataclasses.replace(BUCKETS, suffix_tokens=(tokens,))
        run = programs.make_programs(net, made_rules, greedy, len(asked), 1, shapes)
        return run, functools.partial(answer, run, tokens)

    def answer(run: programs.Programs, tokens: int) -> None:
        prefix = run.prefill(policy, prompt, run.encode(policy, images))
        groups = np.arange(len(asked), dtype=np.int32)
        arrivals = Arrivals(groups, prefix, last, place, run.keys(0, 0, groups))
        state = run.admit(run.start(BUCKETS.prompt_tokens[0]), arrivals)
        state = run.decode(policy, state, Until(FOREVER, FOREVER, FOREVER))
        assert (np.asarray(state.length) == 1 + tokens).all()  # the prompt's last one comes first

    (run, prefill), (_, generate) = answering(1), answering(model.GENERATED)
    return versions(), {
        "vision": lambda: jax.block_until_ready(run.encode(policy, images)),
        "prefill": prefill,
        "generate": generate,
        "train_text": train_text(net, start.params),
    }


def train_text(net, params) -> Callable[[], None]:
    """A step of SFT on words alone; the parameters stay float32, computing is in net's dtype."""
    optimizer = make_optimizer(OptimizerConfig(1e-4, weight_decay=0.1), params)
    forward = losses.ForwardConfig(logit_chunk=model.TRAINED[0] * model.TRAINED[1])
    loss = functools.partial(losses.sft_loss, net, forward)
    step = jax.jit(functools.partial(steps.step, loss, optimizer), donate_argnums=0)
    allowed = np.ones(net.config.text.vocab_size, bool)
    batch = jax.device_put(text_batch(mini.words(*model.TRAINED, seed=1)))
    held = [init_state(jax.tree.map(jnp.array, params), optimizer)]

    def work() -> None:
        held[0], stats, _ = step(held[0], batch, allowed)
        jax.block_until_ready((held[0], stats))

    return work


def text_batch(words: np.ndarray) -> losses.UpdateBatch:
    """Sequences of words [B, T], each after a prompt of one word."""
    B, T = words.shape
    prompt, suffix = batches.empty_prompts(B, 1), batches.empty_suffixes(B, 1, T)
    prompt.mask[:] = True
    suffix.targets[:, 0], suffix.inputs[:, 0, 1:] = words, words[:, :-1]
    suffix.positions[:] = np.arange(1, T + 1)
    suffix.valid[:], suffix.trained[:] = True, True
    nothing = batches.empty_images(ImageBucket(1, 1, patches.UNIT))
    stream = pack.pack_stream(prompt, suffix, BUCKETS)
    advantage, counted = np.ones((B, 1), np.float32), np.ones((B, 1), bool)
    totals = objective.totals(suffix.trained)
    return losses.UpdateBatch(prompt, suffix, stream, (nothing,), advantage, counted, totals)
