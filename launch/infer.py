"""Asks a model about an image and shows where it looked.

    python launch/infer.py --model=runs/look_again/rgrpo/export --image=street.jpg \
        --question="What is the number on the red door?" --trace=trace.html

Prints the episode with its looks, or with --json one object: answer, text, looks, num_tokens.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import entry, infer, vlm


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a model about an image.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="Hugging Face directory of the model")
    parser.add_argument("--image", required=True, help="image file")
    parser.add_argument("--question", required=True, help="what to ask about the image")
    parser.add_argument("--trace", help="HTML page of the episode to write")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=0, help="for a temperature above 0")
    parser.add_argument(
        "--max_text_tokens", type=int, default=1024, help="room for text beside the looks"
    )
    entry.add_dtype(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    return entry.call("infer", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    model = vlm.from_pretrained(args.model, args.dtype)
    question = vlm.as_question(args.image, args.question)
    episode = model.look_again(
        question.images[0],
        args.question,
        args.temperature,
        args.seed,
        max_text_tokens=args.max_text_tokens,
    )
    if args.trace:
        infer.write_page(model, question, episode, args.trace)
    print(infer.to_json(episode) if args.json else infer.describe(episode))


if __name__ == "__main__":
    sys.exit(main())
