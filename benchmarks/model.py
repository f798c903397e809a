"""The plain model beside Transformers: vision tower, prefill, generation, a training step.

    python -m benchmarks.model [--json] [--dtype=bfloat16] [--only vision prefill] [--alone]

Eight images of 448x448 (1,024 patches each); eight prompts of an image and 64 words, up to the
first token; 64 greedy tokens after them; a step of AdamW on four sequences of 512 words. With
bfloat16, Transformers keeps parameters and moments in it; r3jax trains float32 ones. `--alone`
measures r3jax by itself, where there is no torch.
"""

from collections.abc import Mapping, Sequence

from benchmarks import cli, mini, timing
from benchmarks.pair import sides
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


def run(
    dtype: str = "float32",
    repetitions: int = 5,
    only: Sequence[str] | None = None,
    alone: bool = False,
) -> Result:
    """Measures both sides at each work, or r3jax `alone`.

    Raises: ValueError for a work that there is not.
    """
    works = list(only or WORKS)
    if unknown := set(works) - set(WORKS):
        raise ValueError(f"no work is called {sorted(unknown)}; expected some of {list(WORKS)}")
    names = {"ours": "plain.plain"} if alone else {"peers": "plain.plain", "ours": "plain.plain"}
    with sides(names, dtype) as started:
        called = {OURS if side == "ours" else PEER: one for side, one in started.items()}
        rows = [_measure(work, called, repetitions) for work in works]
        about = {name: version for one in started.values() for name, version in one.about.items()}
    ratios = {} if alone else {row.work: row.ratio(PEER) for row in rows}
    return Result(f"Plain model, {dtype}", tuple(rows), ratios, about)


def _measure(work: str, called: Mapping[str, Side], repetitions: int) -> Row:
    calls = {name: lambda side=side: side.call(work) for name, side in called.items()}
    return Row(work, timing.alternate(calls, repetitions), *WORKS[work])


if __name__ == "__main__":
    cli.main(run, __doc__, WORKS, may_be_alone=True)
