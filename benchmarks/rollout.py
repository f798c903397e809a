"""Rollouts beside the published loop, one episode at a time and in batches.

    python -m benchmarks.rollout [--json] [--dtype=bfloat16] [--repetitions=3]

A step of 40 episodes, as `script` has it: eight questions about an image of 448x448, five episodes
each, 96 sampled tokens, two looks of 224x224. The published loop plays one episode, whose time
counts 40 times; r3jax's time includes building prompts and cutting crops.
"""

from benchmarks import cli, mini, script, timing
from benchmarks.pair import pair
from benchmarks.table import OURS, Result, Row

PUBLISHED, BATCHED = "published loop", "batched loop"
EPISODES = mini.QUESTIONS * script.EPISODES


def run(dtype: str = "float32", repetitions: int = 5) -> Result:
    """Measures all sides."""
    with pair("loop.loops", "loop.rollout", dtype) as (theirs, ours):
        timings = timing.alternate(
            {
                PUBLISHED: lambda: theirs.call("published"),
                BATCHED: lambda: theirs.call("batched"),
                OURS: lambda: ours.call("step"),
            },
            repetitions,
        )
        about = {**theirs.about, **ours.about}
    timings[PUBLISHED] = timings[PUBLISHED].times(EPISODES)
    row = Row("rollout", timings, EPISODES * script.SAMPLED, "sampled tokens")
    ratios = {"ratio_published": row.ratio(PUBLISHED), "ratio_batched": row.ratio(BATCHED)}
    return Result(f"Rollout of {EPISODES} episodes, {dtype}", (row,), ratios, about)


if __name__ == "__main__":
    cli.main(run, __doc__)
