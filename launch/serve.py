"""Serves a model to OpenAI's clients, and a page to people.

    python launch/serve.py --model=runs/look_again/export --port=8000

Answers POST /v1/chat/completions, GET /v1/models, GET /healthz, and GET / with a page where one
drops an image, asks, and watches where the model looks. SIGTERM ends it when all is answered.
"""

import argparse
import sys
from collections.abc import Sequence

from r3jax.run import entry, serve
from r3jax.run.serve import ServeConfig

FLAGS = (
    ("name", str, "name of the model (default: that of its directory)"),
    ("host", str, "address to listen at; 0.0.0.0 for all of this machine"),
    ("port", int, "port to listen at; 0 for any that is free"),
    ("rows", int, "requests that are answered at once"),
    ("queue", int, "requests that may wait; more are refused (429)"),
    ("temperature", float, "where a request does not say; 0 is greedy"),
    ("max_text_tokens", int, "room for text beside the looks of an episode"),
    ("max_question_tokens", int, "room for the text of a request"),
    ("max_images", int, "images of a request"),
    ("max_pixels", int, "pixels of a request's images together"),
    ("max_body_bytes", int, "bytes of a request"),
    ("timeout_s", float, "seconds that a request may take"),
    ("grace_s", float, "seconds to finish what is being answered when told to stop"),
    ("files", str, "folder: images may be named by path or file:// below it"),
    ("key_variable", str, "environment variable with the key that requests must bear"),
)
SWITCHES = (
    ("answer_only", "return answers alone, not the text that leads to them"),
    ("remote", "fetch images of http:// and https:// from public addresses"),
    ("no_instruction", "do not add the instruction of the chat format to the last user message"),
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Serve a model over HTTP.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="Hugging Face directory of the model")
    for name, kind, told in FLAGS:
        parser.add_argument(f"--{name}", type=kind, default=getattr(ServeConfig, name), help=told)
    for name, told in SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", help=told)
    entry.add_dtype(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    given = vars(parse(argv))
    given["instruction"] = not given.pop("no_instruction")
    return entry.call("serve", lambda: serve.serve(ServeConfig(**given)))


if __name__ == "__main__":
    sys.exit(main())
