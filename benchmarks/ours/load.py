"""r3jax's input pipeline as SFT runs use it, up to batches that are ready for the device."""

from collections.abc import Callable, Iterator

import grain
import PIL

from benchmarks import load, mini
from r3jax import host
from r3jax.data import pipelines, sources, tokenizer
from r3jax.update import pack
from r3jax.update.losses import UpdateBatch


class Epoch(pipelines.BatchPlan):
    """The first epoch of a plan alone: nothing is read ahead beyond what is measured."""

    def __len__(self) -> int:
        return self.batches_per_epoch


def batches(path: str) -> Callable[[], Iterator[UpdateBatch]]:
    """Reads the rows of a file; each call goes through them once, in packed batches."""
    tok, rows = tokenizer.Tokenizer.from_dir(mini.BESIDE), sources.read_sft(path)
    lengths = [pipelines.episode_length(row, tok, load.FORM) for row in rows]
    buckets = pipelines.by_length(lengths, load.BUCKETS.suffix_tokens)
    plan = Epoch(buckets, load.BATCH, seed=0)

    def epoch() -> Iterator[UpdateBatch]:
        taught = pipelines.stream(plan, lambda row: pipelines.load_sft(rows[row], tok, load.FORM))
        for items in taught:
            prompts, episodes = [i.prompt for i in items], [i.episode for i in items]
            yield pack.pack_taught(prompts, episodes, load.BUCKETS, tok.ids.image_pad)

    return epoch


def loader(path: str) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up an epoch."""
    host.keep_freed_memory()
    epoch = batches(path)

    def run() -> None:
        assert sum(len(batch.prompt.tokens) for batch in epoch()) == load.ROWS

    return {"grain": grain.__version__, "pillow": PIL.__version__}, {"epoch": run}
