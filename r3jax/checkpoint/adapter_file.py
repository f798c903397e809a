"""`lora.json`: what the adapters in a checkpoint belong to, beside the files of its export."""

import dataclasses
import json
from pathlib import Path

from r3jax import config
from r3jax.model.config import LoraConfig
from r3jax.model.layers import Dtype

FILE_NAME = "lora.json"


@dataclasses.dataclass(frozen=True)
class AdapterFile:
    """The model directory `base` that they are beside, in which dtype it lay, and what they are
    like."""

    base: str
    dtype: Dtype
    lora: LoraConfig


def to_text(adapters: AdapterFile) -> str:
    """What the file says."""
    return json.dumps(dataclasses.asdict(adapters), indent=2) + "\n"


def load(directory: Path) -> AdapterFile | None:
    """Reads the file of a directory; None where there is none.

    Raises: ValueError naming file and field where it is none of ours.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return config.build(AdapterFile, values, str(path), strict=True)
