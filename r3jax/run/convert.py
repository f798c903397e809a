"""Between a Hugging Face directory and an Orbax checkpoint: what the launch entries call.

An imported checkpoint holds `{"params": ...}` as step 0, and beside it `hf/`: config.json,
tokenizer and processor files, so that it can be exported on its own. The workdir of a run has its
steps in `checkpoints/` and may have `hf/` too; of a run with adapters, `hf/lora.json` says which
model they are beside.
"""

from pathlib import Path

import jax
import numpy as np

from r3jax import paths
from r3jax.checkpoint import adapter_file, hf, hf_config
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.store import Store
from r3jax.model import lora, qwen
from r3jax.run import adapters
from r3jax.run.workdirs import CHECKPOINTS, SURROUNDINGS

DTYPES = (hf.SAME, *hf.DTYPES)
"""What weights can be stored in; "same" keeps what each tensor has, but with adapters in it the
model is the same in float32."""
DTYPES_HELP = (
    "what to store; same: as it is, with adapters float32, since 16 bits would round away much of "
    "what they add"
)


def import_hf(model: str | Path, output: str | Path, dtype: str = hf.SAME) -> None:
    """Writes the model of a Hugging Face directory as an Orbax checkpoint of parameters.

    Raises: CheckpointError if the directory is not a Qwen2.5-VL, or `output` holds one already.
    """
    loaded = hf.load_hf(model, dtype)
    with Store(output, keep=None) as store:
        store.save(0, {"params": loaded.params}, meta={"imported_from": str(model)})
    hf.copy_surroundings(model, paths.of(output) / SURROUNDINGS)


def export_hf(
    checkpoint: str | Path,
    output: str | Path,
    carry_from: str | Path | None = None,
    step: int | None = None,
    dtype: str = hf.SAME,
    base: str | Path | None = None,
) -> int:
    """Writes the parameters of a checkpoint as a Hugging Face directory; returns their step.

    `checkpoint` is an imported checkpoint or the workdir of a run. config.json, tokenizer and
    processor files come from `carry_from`, or from `hf/` in the checkpoint. Adapters are merged
    into the model that they learnt beside, `base` if it is not where it was then.

    Raises: CheckpointError if any of these is missing, or if the parameters are of another model.
    """
    checkpoint = paths.of(checkpoint)
    surroundings = paths.of(carry_from) if carry_from else checkpoint / SURROUNDINGS
    if not (surroundings / "config.json").is_file():
        raise CheckpointError(
            f"{surroundings} holds no config.json: expected {checkpoint} to be an import or the "
            "workdir of one stage of training; name one, or with --carry_from the Hugging Face "
            "directory that the model started from"
        )
    config, extras = hf_config.read_config(surroundings)
    adapted = adapter_file.load(checkpoint / SURROUNDINGS)
    if adapted is not None:
        config = config.adapted(adapted.lora)
    elif base:
        raise CheckpointError(f"--base is for adapters, but {checkpoint} holds a whole model")
    nested = checkpoint / CHECKPOINTS
    with Store(nested if nested.is_dir() else checkpoint, read_only=True) as store:
        step = store.latest_step() if step is None else step
        kind = np.dtype(store.params_dtype(step))
        params = qwen.abstract_params(config)
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, kind), lora.lasting(params)
        )
        params = store.restore_params(step, abstract)
        made_from = store.meta(step).get("made_from", {})
    if adapted is not None:
        beside = adapters.base_of(adapted, base, made_from["model"])
        params = lora.with_adapters(beside, params)
    hf.save_hf(output, config, params, carry_from=surroundings, dtype=dtype, extras=extras)
    return step
