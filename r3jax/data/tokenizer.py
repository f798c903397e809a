"""Qwen's byte-level BPE tokenizer: text to ids and back, and the bytes behind every id.

A user's text never becomes a special token: `<|im_end|>` typed into a question is seven characters
of text to the model, not the end of the turn.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from r3jax import paths

# The added tokens of Qwen2.5 in the order of their ids (151643 onwards in the released models).
# The second list is added too but not special: decoding keeps them.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ADDED_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)

# Source: the released Qwen2 tokenizer. Contractions, words, single digits, punctuation, spaces.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokens that prompts, looks and sampling need, by their Qwen names."""

    endoftext: int
    im_start: int
    im_end: int
    vision_start: int
    vision_end: int
    vision_pad: int
    image_pad: int
    video_pad: int

    @classmethod
    def of(cls, tokenizer: tokenizers.Tokenizer, source: str) -> Self:
        """Look the ids up; ValueError naming every token that `source` lacks."""
        names = [field.name for field in dataclasses.fields(cls)]
        ids = {name: tokenizer.token_to_id(f"<|{name}|>") for name in names}
        missing = [f"<|{name}|>" for name, token_id in ids.items() if token_id is None]
        if missing:
            raise ValueError(
                f"{source} has no token {', '.join(missing)}: a Qwen2.5-VL tokenizer is expected"
            )
        return cls(**ids)


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A Qwen tokenizer. `ids` holds the special ids; `config` what Transformers reads beside it."""

    ids: SpecialIds
    config: Mapping[str, object]
    _whole: tokenizers.Tokenizer  # knows the added tokens
    _plain: tokenizers.Tokenizer  # the same without them, for text from users

    @classmethod
    def from_dir(cls, directory: str | pathlib.Path) -> Self:
        """Read `tokenizer.json`, and `tokenizer_config.json` where there is one."""
        path = paths.of(directory) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: name a Hugging Face model directory with a tokenizer.json"
            )
        config_path = path.with_name("tokenizer_config.json")
        config = json.loads(config_path.read_text("utf-8")) if config_path.is_file() else None
        return cls.from_json(path.read_text("utf-8"), config, str(path))

    @classmethod
    def from_json(
        cls, text: str, config: Mapping[str, object] | None = None, source: str = "the tokenizer"
    ) -> Self:
        """Build from the content of a `tokenizer.json`; `source` names it in errors."""
        try:
            whole = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the package raises bare Exception for every kind of bad file
            raise ValueError(f"{source} is no tokenizer file: {error}") from error
        plain = tokenizers.Tokenizer.from_str(json.dumps(json.loads(text) | {"added_tokens": []}))
        ids = SpecialIds.of(whole, source)
        return cls(ids, config or describe_for_transformers(whole), whole, plain)

    @property
    def vocab_size(self) -> int:
        """How many ids the tokenizer knows; a model's table of embeddings may be padded beyond."""
        return self._whole.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, allow_special: bool = False) -> np.ndarray:
        """Token ids, int32 [T]. Special tokens in the text are only recognised if allowed."""
        tokenizer = self._whole if allow_special else self._plain
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, token_ids: Sequence[int] | np.ndarray, skip_special: bool = True) -> str:
        """Text of the ids; bytes that are not UTF-8 become U+FFFD, ids of padded rows nothing."""
        token_ids = [int(token_id) for token_id in token_ids]
        return self._whole.decode(token_ids, skip_special_tokens=skip_special)

    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes that each id adds to the text, [vocab_size]; special ids add none.

        Worked example: "Ġa" in the vocabulary is b" a".
        """
        special = {
            t for t, added in self._whole.get_added_tokens_decoder().items() if added.special
        }
        added = {t: a.content for t, a in self._whole.get_added_tokens_decoder().items()}
        table = [b""] * self.vocab_size
        for piece, token_id in self._whole.get_vocab(with_added_tokens=True).items():
            if token_id in special or token_id >= len(table):
                continue
            if token_id in added:
                table[token_id] = added[token_id].encode()
            else:
                table[token_id] = bytes(_byte_of_letter()[letter] for letter in piece)
        return tuple(table)

    def save(self, directory: str | pathlib.Path) -> None:
        """Write tokenizer.json, vocab.json, merges.txt and tokenizer_config.json."""
        directory = paths.of(directory)
        directory.mkdir(parents=True, exist_ok=True)
        text = self._whole.to_str(pretty=True)
        model = json.loads(text)["model"]
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        vocab = json.dumps(model["vocab"], ensure_ascii=False)
        config = json.dumps(self.config, indent=2, ensure_ascii=False)
        (directory / "tokenizer.json").write_text(text, "utf-8")
        (directory / "vocab.json").write_text(vocab, "utf-8")
        (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
        (directory / "tokenizer_config.json").write_text(config, "utf-8")


def train_tokenizer(texts: Iterable[str], merges: int, directory: str | pathlib.Path) -> Tokenizer:
    """Learn up to `merges` BPE merges from texts, write the files Transformers reads, return it.

    The vocabulary is the 256 bytes, the merges, then Qwen's 22 added tokens in Qwen's order. The
    same texts give the same tokenizer.
    """
    fast = tokenizers.Tokenizer(models.BPE())
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                tokenizers.Regex(PRE_TOKENIZER), behavior="isolated", invert=False
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    fast.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        min_frequency=1,
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    fast.add_tokens(
        [tokenizers.AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS]
    )
    fast.add_tokens(
        [tokenizers.AddedToken(t, special=False, normalized=False) for t in ADDED_TOKENS]
    )
    tokenizer = Tokenizer.from_json(fast.to_str())
    tokenizer.save(directory)
    return tokenizer


def describe_for_transformers(tokenizer: tokenizers.Tokenizer) -> dict[str, object]:
    """The content of `tokenizer_config.json` for a Qwen2 tokenizer, its added tokens by id."""
    fields = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token_id): {field: getattr(token, field) for field in fields}
            for token_id, token in added
        },
        "additional_special_tokens": [t.content for _, t in added if t.special][1:],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


@functools.cache
def _byte_of_letter() -> dict[str, int]:
    """GPT-2's alphabet backwards: printable bytes stand for themselves, the rest for U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + place): byte for place, byte in enumerate(rest)}
