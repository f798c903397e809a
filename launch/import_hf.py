"""Imports a Hugging Face Qwen2.5-VL directory as an Orbax checkpoint of parameters.

    python launch/import_hf.py --model=Qwen2.5-VL-7B-Instruct --output=checkpoints/qwen_7b

Training restores it sharded, each host its own part. Host memory: the model plus one file.
"""

import sys

from absl import app, flags, logging

from r3jax.checkpoint import convert
from r3jax.checkpoint.errors import CheckpointError

_MODEL = flags.DEFINE_string("model", None, "Hugging Face directory.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the new checkpoint.", required=True)
_DTYPE = flags.DEFINE_enum(
    "dtype", "same", ["same", "float32", "bfloat16", "float16"], "What to store parameters in."
)


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.ERROR)  # Orbax tells a long story otherwise
    try:
        convert.import_hf(_MODEL.value, _OUTPUT.value, _DTYPE.value)
    except CheckpointError as error:
        sys.exit(f"import failed: {error}")
    print(f"imported {_MODEL.value} into {_OUTPUT.value}")


if __name__ == "__main__":
    app.run(main)
