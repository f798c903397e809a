"""Imports a Hugging Face Qwen2.5-VL directory as an Orbax checkpoint of parameters.

    python launch/import_hf.py --model=Qwen2.5-VL-7B-Instruct --output=checkpoints/qwen_7b

launch/export_hf.py writes any checkpoint back. Host memory: the model, one file of it, and two of
its weights stacked over the layers.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import convert, entry


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Import a model.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="Hugging Face directory")
    parser.add_argument("--output", required=True, help="directory of the new checkpoint")
    parser.add_argument("--dtype", default="same", choices=convert.DTYPES, help="what to store")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return entry.call("import failed", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    convert.import_hf(args.model, args.output, args.dtype)
    print(f"imported {args.model} into {args.output}")


if __name__ == "__main__":
    sys.exit(main())
