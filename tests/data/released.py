"""What tests of data share: a tokenizer with the released one's format and special tokens."""

import pathlib

from r3jax.data.tokenizer import Tokenizer

QWEN = Tokenizer.from_dir(pathlib.Path(__file__).parents[1] / "golden" / "tiny_untied")
