"""r3jax at released sizes on one GPU or TPU core, with random bf16 weights, beside its peaks.

    python -m benchmarks.accelerator [--size=3b|7b|mini] [--output=docs/performance.md]
    python -m benchmarks.accelerator --size=mini --dtype=float32 --flops=2e11 --bandwidth=2e10

The second line is for a CPU. The work is that of `script`: prompts of 322 tokens with an image of
448x448, 40 rows of 96 sampled tokens, an update on the episodes, and the 64 looks at 1920x1080 of
`region`. Prefill and update are given as model FLOPs utilisation, image tokens and vision tower
counted, decoding as the share of memory bandwidth (`counts` has the formulas, `devices` the peaks).
The update takes features that the rollout kept: the frozen tower costs it nothing and counts
nothing.

Weights, moments and gradients of the update are float32, as runs have them, where that fits; else
bf16, then with layers run again for their gradient, then on fewer questions: the table says which.
The script starts no part that it may have no time to end, and names what it left out.
"""

import argparse
import datetime
import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks import devices, mini, page, region, script
from benchmarks.budget import Budget, Line, markdown, measure
from benchmarks.cli import DTYPES
from benchmarks.devices import Peak
from benchmarks.ours import device
from r3jax import patches
from r3jax.data import tokenizer
from r3jax.model import counts, qwen
from r3jax.model.config import SIZES, ModelConfig
from r3jax.update.losses import ForwardConfig

GRIDS = [(mini.IMAGE_SIDE // patches.FACTOR,) * 2] * mini.QUESTIONS
ROWS = mini.QUESTIONS * script.EPISODES
PREFIX = mini.PROMPT_TOKENS - 1  # the last token starts the suffix
# Seconds of a part with its compilation: guesses, since no accelerator has run it yet.
NEEDS_S = {"prefill": 60, "decode": 70, "looks": 20, "update": 110}
STATES = {"float32": 4, "bfloat16": 2}
UPDATES = (  # dtype of weights and moments, what layers keep, questions: the first that fits
    ("float32", "dots", 8),
    ("bfloat16", "dots", 8),
    ("bfloat16", "full", 8),
    ("bfloat16", "full", 4),
    ("bfloat16", "full", 2),
    ("bfloat16", "full", 1),
)


def config_of(size: str) -> ModelConfig:
    """The configuration of a size: a released one, or that of the comparisons on CPU."""
    if size == "mini":
        return mini.config(tokenizer.Tokenizer.from_dir(mini.BESIDE).ids)
    return SIZES[size.upper()]


def run(
    config: ModelConfig,
    peak: Peak,
    budget: Budget,
    dtype=jnp.bfloat16,
    repetitions: int = 5,
    looks: str = "large",
    say: Callable[[str], None] = print,
) -> list[Line]:
    """Measures what the budget has time for; `say` is given each line as it comes.

    What is left out is noted in the budget.
    """
    model = qwen.Qwen25VL(config, dtype)
    params = device.random_params(config, dtype)
    rollout = device.Rollout(model, params)
    parts = {
        "prefill": lambda: _prefill(config, rollout, peak, repetitions),
        "decode": lambda: _decode(model, rollout, peak, repetitions),
        "looks": lambda: _looks(looks, repetitions),
        "update": lambda: _update(model, params, peak, repetitions),
    }
    found = []
    for name, part in parts.items():
        for line in budget.run(name, NEEDS_S[name], part):
            found.append(line)
            say(line.markdown())
    return found


def _prefill(config: ModelConfig, work: device.Rollout, peak: Peak, repetitions: int) -> list[Line]:
    """The vision tower alone, and the whole way from images to keys and values."""
    tokens = mini.QUESTIONS * PREFIX
    tower = counts.vision_flops(config.vision, GRIDS)
    pairs = mini.QUESTIONS * counts.causal_pairs(PREFIX)
    both = tower + counts.decoder_flops(config.text, tokens, pairs)
    count = sum(patches.UNIT * rows * columns for rows, columns in GRIDS)
    shown = f"{len(GRIDS)} images of {mini.IMAGE_SIDE}x{mini.IMAGE_SIDE}"
    prompts = f"{mini.QUESTIONS} prompts of {PREFIX} tokens, encoded and prefilled"
    first, second = (measure(one, repetitions) for one in (work.vision(), work.prefill()))
    return [
        Line("vision", shown, first, count, "patches", tower / first.median / peak.flops),
        Line("prefill", prompts, second, tokens, "tokens", both / second.median / peak.flops),
    ]


def _decode(model, work: device.Rollout, peak: Peak, repetitions: int) -> list[Line]:
    timing = measure(work.decode(), repetitions)
    steps = script.SAMPLED
    filled = ROWS * (steps + 1) // 2  # slots of all rows, on average
    size = jnp.dtype(model.dtype).itemsize
    read = counts.decode_bytes(model.config, mini.QUESTIONS * PREFIX, filled, size)
    share = steps * read / timing.median / peak.bandwidth
    done = f"{steps} steps of {ROWS} rows"
    return [Line("decode", done, timing, steps * ROWS, "tokens", share, "bandwidth")]


def _looks(name: str, repetitions: int) -> list[Line]:
    alone, placed = (measure(one, repetitions) for one in device.looks(name))
    pictures, asked = region.work(name)
    height, width = pictures[0].shape[:2]
    done = f"{len(asked)} looks at {width}x{height}"
    return [
        Line("looks", f"{done}, on the device", alone, len(asked), "looks"),
        Line("looks, placed", f"{done}, with the host's part", placed, len(asked), "looks"),
    ]


def _update(model, params, peak: Peak, repetitions: int) -> list[Line]:
    text = model.config.text
    state, remat, questions = choose_update(model.config, device_memory())
    work = device.update(device.with_remat(model, remat), params, jnp.dtype(state), questions)
    timing = measure(work, repetitions)
    episodes, tokens, pairs = questions * script.EPISODES, *update_tokens(questions)
    trained = counts.decoder_flops(text, tokens, pairs)
    trained += counts.head_flops(text, episodes * script.SAMPLED)
    share = counts.update_flops(trained) / timing.median / peak.flops
    done = f"{questions}x{script.EPISODES} episodes, {tokens:,} tokens, {state}, remat {remat}"
    return [Line("update", done, timing, tokens, "tokens", share)]


def update_tokens(questions: int) -> tuple[int, int]:
    """Tokens of an update, prompts once, and the pairs that attention makes of them."""
    suffix = counts.causal_pairs(script.EPISODE_TOKENS, before=PREFIX)
    tokens = questions * (PREFIX + script.EPISODES * script.EPISODE_TOKENS)
    return tokens, questions * (counts.causal_pairs(PREFIX) + script.EPISODES * suffix)


def choose_update(config: ModelConfig, memory: int | None) -> tuple[str, str, int]:
    """The first of UPDATES that fits into so many bytes, else the last; None: any would.

    A tenth of the memory is left to what `counts.update_bytes` does not know.
    """
    shapes = qwen.abstract_params(config)
    trained, frozen = (sum(y.size for y in jax.tree.leaves(shapes[p])) for p in ("text", "vision"))
    for state, remat, questions in UPDATES:
        tokens, size = update_tokens(questions)[0], STATES[state]
        given = config.text, trained, tokens, size, remat, ForwardConfig().logit_chunk
        needed = counts.update_bytes(*given) + size * frozen
        if memory is None or needed < 0.9 * memory:
            break
    return state, remat, questions


def device_memory() -> int | None:
    """Bytes that programs may take of the device; None where it does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("bytes_limit")


def main() -> None:
    """Measures, prints the table, and writes it into the page where one is named."""
    # Read when JAX starts: by default it takes three quarters of a GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="3b", choices=["3b", "7b", "mini"])
    parser.add_argument("--output", type=pathlib.Path, help="page whose section to write")
    parser.add_argument("--flops", type=float, help="peak of the device, bf16 FLOP/s")
    parser.add_argument("--bandwidth", type=float, help="of the device's memory, bytes/s")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES, help="of the model")
    parser.add_argument("--budget", type=float, default=460, help="seconds for all of it")
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    kind = jax.devices()[0].device_kind
    try:
        peak = devices.peak_of(kind, given.flops, given.bandwidth)
    except ValueError as error:
        parser.error(str(error))
    budget = Budget(given.budget)
    lines = run(config_of(given.size), peak, budget, given.dtype, given.repetitions)
    about = f"{kind}, {datetime.date.today()}, jax {jax.__version__}, {given.dtype}, {budget}. "
    peaks = f"Peaks: {peak.flops / 1e12:,.4g} TFLOP/s, {peak.bandwidth / 1e12:,.4g} TB/s."
    table = f"{about}{peaks}\n\n{markdown(lines)}"
    print("\n" + table)
    if given.output:
        page.write_section(given.output, f"{given.size} on {kind}", table)


if __name__ == "__main__":
    main()
