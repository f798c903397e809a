"""The plain model beside Transformers: vision tower, prefill, generation, a training step.

    python -m benchmarks.model [--json] [--dtype=bfloat16] [--only vision prefill]

Eight images of 448x448 (1,024 patches each); eight prompts of an image and 64 words, up to the
first token; 64 greedy tokens after them; a step of AdamW on four sequences of 512 words. With
bfloat16, Transformers keeps parameters and moments in it; r3jax trains float32 ones.
"""

from collections.abc import Sequence

from benchmarks import cli, mini, timing
from benchmarks.pair import pair
from benchmarks.side import Side
from benchmarks.table import OURS, Result, Row

PEER = "Transformers"
GENERATED = 64
TRAINED = (4, 512)  # sequences and their tokens
WORKS = {  # what is done: amount and unit
    "vision": (mini.QUESTIONS * 4 * mini.IMAGE_TOKENS, "patches"),
    "prefill": (mini.QUESTIONS * mini.PROMPT_TOKENS, "tokens"),
    "generate": (mini.QUESTIONS * GENERATED, "tokens"),
    "train_text": (TRAINED[0] * TRAINED[1], "tokens"),
}


def run(dtype: str = "float32", repetitions: int = 5, only: Sequence[str] | None = None) -> Result:
    """Measures both sides at each work.

    Raises: ValueError for a work that there is not.
    """
    works = list(only or WORKS)
    if unknown := set(works) - set(WORKS):
        raise ValueError(f"no work is called {sorted(unknown)}; expected some of {list(WORKS)}")
    with pair("plain.plain", "plain.plain", dtype) as (theirs, ours):
        rows = [_compare(work, {PEER: theirs, OURS: ours}, repetitions) for work in works]
        about = {**theirs.about, **ours.about}
    return Result(
        f"Plain model, {dtype}", tuple(rows), {r.work: r.ratio(PEER) for r in rows}, about
    )


def _compare(work: str, sides: dict[str, Side], repetitions: int) -> Row:
    calls = {name: lambda side=side: side.call(work) for name, side in sides.items()}
    return Row(work, timing.alternate(calls, repetitions), *WORKS[work])


if __name__ == "__main__":
    cli.main(run, __doc__, WORKS)
