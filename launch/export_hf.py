"""Exports the parameters of a checkpoint as a Hugging Face directory in the released layout.

    python launch/export_hf.py --checkpoint=runs/rgrpo --carry_from=Qwen2.5-VL-7B-Instruct \
        --output=qwen_7b_looks_again --dtype=bfloat16

Transformers 4.51 and newer, vLLM and others read the result. Host memory: the model.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import convert, entry


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a model.", allow_abbrev=False)
    parser.add_argument("--checkpoint", required=True, help="workdir of a run, or an import")
    parser.add_argument("--output", required=True, help="Hugging Face directory to write")
    parser.add_argument(
        "--carry_from",
        help="Hugging Face directory that config.json, tokenizer and processor files come from; "
        "default: hf/ in the checkpoint",
    )
    parser.add_argument(
        "--base",
        help="of a run with adapters: the model that it started from; default: where it was",
    )
    parser.add_argument("--step", type=int, help="step to export; default: the newest")
    parser.add_argument("--dtype", default="same", choices=convert.DTYPES, help=convert.DTYPES_HELP)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return entry.call("export failed", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    step = convert.export_hf(
        args.checkpoint, args.output, args.carry_from, args.step, args.dtype, args.base
    )
    print(f"exported step {step} of {args.checkpoint} to {args.output}")


if __name__ == "__main__":
    sys.exit(main())
