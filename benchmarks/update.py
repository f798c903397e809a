"""An R-GRPO update beside Transformers, and beside what r3jax's own speed predicts.

    python -m benchmarks.update [--json] [--dtype=bfloat16] [--repetitions=3]

The 40 episodes of `script`, the vision tower frozen, the same optimizer. Transformers runs whole
sequences, five at a time, and encodes what they show; r3jax takes the features that its rollout
kept and runs each prompt once. The row "single" is an update of eight whole sequences, one a
question, that share nothing: its time by token predicts that of the 40.
"""

from benchmarks import cli, mini, script, timing
from benchmarks.pair import pair
from benchmarks.table import OURS, Result, Row

PEER = "Transformers"
EPISODES = mini.QUESTIONS * script.EPISODES


def tokens(episodes: int) -> int:
    """How many tokens an update computes on for so many episodes a question."""
    return mini.QUESTIONS * (mini.PROMPT_TOKENS - 1 + episodes * script.EPISODE_TOKENS)


def run(dtype: str = "float32", repetitions: int = 5) -> Result:
    """Measures both sides."""
    with pair("update.rgrpo", "update.rgrpo", dtype) as (theirs, ours):
        timings = timing.alternate(
            {
                PEER: lambda: theirs.call("update"),
                OURS: lambda: ours.call("update"),
                "single": lambda: ours.call("single"),
            },
            repetitions,
        )
        about = {**theirs.about, **ours.about}
    alone = Row("single", {OURS: timings.pop("single")}, tokens(1), "tokens")
    row = Row("update", timings, EPISODES * script.SAMPLED, "sampled tokens")
    predicted = alone.timings[OURS].median * tokens(script.EPISODES) / tokens(1)
    ratios = {
        "ratio_transformers": row.ratio(PEER),
        "of_predicted": timings[OURS].median / predicted,
    }
    return Result(f"Update on {EPISODES} episodes, {dtype}", (row, alone), ratios, about)


if __name__ == "__main__":
    cli.main(run, __doc__)
