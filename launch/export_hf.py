"""Exports the parameters of a checkpoint as a Hugging Face directory in the released layout.

    python launch/export_hf.py --checkpoint=runs/rgrpo --carry_from=Qwen2.5-VL-7B-Instruct \
        --output=qwen_7b_looks_again --dtype=bfloat16

Transformers 4.51 and newer, vLLM and others read the result. Host memory: the model.
"""

import sys

from absl import app, flags, logging

from r3jax.checkpoint import convert
from r3jax.checkpoint.errors import CheckpointError

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Workdir of a run, or an imported checkpoint.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Hugging Face directory to write.", required=True)
_CARRY_FROM = flags.DEFINE_string(
    "carry_from",
    None,
    "Hugging Face directory that config.json, tokenizer and processor files come from; "
    "default: hf/ in the checkpoint.",
)
_STEP = flags.DEFINE_integer("step", None, "Step to export; default: the newest.")
_DTYPE = flags.DEFINE_enum(
    "dtype", "same", ["same", "float32", "bfloat16", "float16"], "What to store weights in."
)


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.ERROR)  # Orbax tells a long story otherwise
    try:
        step = convert.export_hf(
            _CHECKPOINT.value, _OUTPUT.value, _CARRY_FROM.value, _STEP.value, _DTYPE.value
        )
    except CheckpointError as error:
        sys.exit(f"export failed: {error}")
    print(f"exported step {step} of {_CHECKPOINT.value} to {_OUTPUT.value}")


if __name__ == "__main__":
    app.run(main)
