"""The adapters of a run, for what comes after it: the next run, or a model without them.

A run with `lora` keeps adapters in its checkpoints, and in `hf/lora.json` which model they are
beside. Rounded to 16 bits with the kernels that they change, much of what they learnt would be
gone, so the next run goes on with the adapters themselves.
"""

from pathlib import Path

from r3jax import paths
from r3jax.checkpoint import adapter_file, hf
from r3jax.checkpoint.adapter_file import AdapterFile
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.store import Store
from r3jax.model import lora, qwen
from r3jax.model.config import LoraConfig, ModelConfig
from r3jax.run import origins
from r3jax.run.workdirs import CHECKPOINTS, SURROUNDINGS


def of_run(workdir: str | Path, config: ModelConfig, base: str | Path) -> dict:
    """Reads the newest adapters of a run, for a model with this config that starts from `base`.

    Raises: CheckpointError where the run has none, others, or learnt them beside another model.
    """
    workdir = paths.of(workdir)
    if not workdir.is_dir():
        raise CheckpointError(
            f"adapters: {workdir} is not there: name the workdir of the run to go on from, or "
            "nothing (--config.adapters=) to begin with fresh ones"
        )
    if (known := adapter_file.load(workdir / SURROUNDINGS)) is None:
        raise CheckpointError(
            f"{workdir} holds no {SURROUNDINGS}/{adapter_file.FILE_NAME}: expected the workdir of "
            "a run with lora"
        )
    if known.lora != config.text.lora:
        raise CheckpointError(
            f"{workdir} holds adapters of {_words(known.lora)}, but lora asks for "
            f"{_words(config.text.lora)}: give the same"
        )
    with Store(workdir / CHECKPOINTS, read_only=True) as store:
        step = store.latest_step()
        found = store.restore_params(step, lora.adapters(qwen.abstract_params(config)))
        learnt = store.meta(step)["made_from"]["model"]
        check_base(base, learnt, f"name that as model ({known.base})")
    return found


def base_of(known: AdapterFile, given: str | Path | None, fingerprint: str) -> dict:
    """The weights beside which adapters learnt: of the model with this fingerprint, in the
    directory that is `given`, or else where it was."""
    directory = given or known.base
    check_base(directory, fingerprint, f"say with --base where that is ({known.base} then)")
    return hf.load_hf(directory, known.dtype).params


def check_base(directory: str | Path, fingerprint: str, advice: str) -> None:
    """Raises CheckpointError where a directory holds another model than adapters learnt beside."""
    found = origins.fingerprint_model(directory)  # of nothing, where it is not there
    if found != fingerprint:
        is_there = paths.of(directory).is_dir()
        raise CheckpointError(
            f"{directory} {'has another content than' if is_there else 'is not there, which is'} "
            f"the model that the adapters of the checkpoint learnt beside"
            f"{origins.MOVED if origins.moved_between(fingerprint, found) else ''}: {advice}"
        )


def _words(config: LoraConfig | None) -> str:
    return "no rank" if config is None else f"rank {config.rank} and alpha {config.alpha:g}"
