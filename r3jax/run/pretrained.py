"""A model directory in Hugging Face layout as everything a run needs of it."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from r3jax import hosts, paths
from r3jax.checkpoint import adapter_file, hf, hf_config
from r3jax.checkpoint.adapter_file import AdapterFile
from r3jax.data import chat, chat_file
from r3jax.data.tokenizer import Tokenizer
from r3jax.kernels import attention
from r3jax.model import lora, qwen
from r3jax.model.config import SIZES, LoraConfig, ModelConfig
from r3jax.model.layers import Dtype, Remat
from r3jax.run import adapters
from r3jax.run.workdirs import SURROUNDINGS


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights, tokenizer and chat format of `directory`; `dtype` is that of the weights, but for
    adapters, which are float32."""

    directory: Path
    config: ModelConfig
    params: dict
    tokenizer: Tokenizer
    form: chat.ChatFormat
    dtype: Dtype = "float32"

    def model(
        self,
        dtype: DTypeLike | None = None,
        remat: Remat = "dots",
        backend: attention.Backend | None = None,
    ) -> qwen.Qwen25VL:
        """Returns the model to compute with: in the dtype of the weights and with the platform's
        attention, unless another is named."""
        dtype = jnp.dtype(dtype or self.dtype)
        backend = backend or attention.default_backend(jax.default_backend(), dtype)
        return qwen.Qwen25VL(self.config, dtype, remat, backend)


def load(
    directory: str | Path,
    form: chat.ChatFormat | None = None,
    on_host: bool = False,
    dtype: Dtype = "float32",
) -> Pretrained:
    """Reads a model directory: a tree on the default device, or NumPy arrays `on_host`, for those
    who place them on a mesh; in float32, or another `dtype`.

    `form` replaces the directory's own chat format (r3jax.json); where there is neither, the
    default one of Qwen2.5-VL is used.
    """
    directory = paths.of(directory)
    hosts.goes_on(f"reading {directory}")
    model = hf.load_hf(directory, dtype)
    return Pretrained(
        directory,
        model.config,
        model.params if on_host else jax.tree.map(jnp.asarray, model.params),
        Tokenizer.from_dir(directory),
        form or chat_format(directory),
        dtype,
    )


def chat_format(directory: str | Path) -> chat.ChatFormat:
    """How the model of a directory is asked: its r3jax.json, or Qwen2.5-VL's way where there is
    none."""
    directory = paths.of(directory)
    if (directory / chat_file.FILE_NAME).is_file():
        return chat_file.load_chat(directory)
    return chat.ChatFormat()


def load_to_train(
    directory: str | Path, adapted: LoraConfig | None, of_run: str, dtype: Dtype, seed: int
) -> Pretrained:
    """Reads what a run starts from, on the host: float32, or adapters beside a base in the `dtype`
    of computation, since it never changes. They are those of a run, by its workdir, or fresh.

    Raises: ValueError where that dtype would round the base.
    """
    if adapted is None:
        return load(directory, on_host=True)
    config, extras = hf_config.read_config(paths.of(directory))
    if extras.dtype == "float32" and dtype != "float32":
        raise ValueError(
            f"{directory} is stored in float32, and {dtype} would round it: compute in float32, go "
            f"on with the `adapters` of the run that made it, or export it with --dtype={dtype} if "
            "rounding does no harm"
        )
    config = config.adapted(adapted)
    if of_run:
        found = adapters.of_run(of_run, config, directory)
    else:
        found = jax.device_get(lora.init(config, jax.random.key(seed)))
    start = load(directory, on_host=True, dtype=dtype)
    params = lora.with_adapters(start.params, found)
    return dataclasses.replace(start, config=config, params=params)


def shapes_to_train(config: ModelConfig, adapted: LoraConfig | None, dtype: Dtype) -> dict:
    """The shapes of what a run starts from (`load_to_train`)."""
    if adapted is None:
        return qwen.abstract_params(config)
    return lora.base_in(dtype, qwen.abstract_params(config.adapted(adapted)))


def describe(directory: str | Path) -> ModelConfig:
    """Returns the sizes of a model directory, without reading its weights.

    One that is not there (yet) is told by its name: it ends in that of a released size, such as
    Qwen2.5-VL-7B-Instruct. Raises: ValueError for another name.
    """
    directory = paths.of(directory)
    if directory.is_dir():
        return hf_config.read_config(directory)[0]
    for size, config in SIZES.items():
        if size in directory.name.split("-"):
            return config
    raise ValueError(
        f"{directory} is not there, and its name is of no released size ({', '.join(SIZES)}): name "
        "a model directory, or one such as Qwen2.5-VL-7B-Instruct"
    )


def carry(pretrained: Pretrained, workdir: str | Path) -> None:
    """Puts config, tokenizer and processor files into `hf/` of a workdir, so that any of its
    checkpoints can be exported on its own (launch/export_hf.py). Of several hosts the first does.
    """
    if not hosts.leads():
        return
    beside = {chat_file.FILE_NAME: chat_file.to_text(pretrained.form)}
    if (adapted := pretrained.config.text.lora) is not None:
        where = str(paths.absolute(pretrained.directory))
        known = AdapterFile(where, pretrained.dtype, adapted)
        beside[adapter_file.FILE_NAME] = adapter_file.to_text(known)
    hf.copy_surroundings(pretrained.directory, paths.of(workdir) / SURROUNDINGS, beside)


def save(pretrained: Pretrained, params, directory: str | Path) -> Path:
    """Writes `params` as a Hugging Face directory with the files of `pretrained` carried along."""
    directory = paths.of(directory)
    form = {chat_file.FILE_NAME: chat_file.to_text(pretrained.form)}
    hf.save_hf(directory, pretrained.config, params, carry_from=pretrained.directory, beside=form)
    return directory
