"""The tokenizer: ids of Transformers, bytes of every id, and no special token out of plain text."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3jax.data import tokenizer as tokenizers
from r3jax.data.tokenizer import Tokenizer

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
QWEN = Tokenizer.from_dir(GOLDEN / "tiny_untied")
CASES = json.loads((GOLDEN / "data" / "tokenizer_cases.json").read_text("utf-8"))
TEXTS = ["look at the sign", 'a box {"bbox_2d": [12, 40, 96, 118]} of the sign'] * 3


@pytest.mark.parametrize("case", range(len(CASES["texts"])), ids=lambda case: f"case{case}")
def test_ids_and_texts_equal_transformers(case):
    ids = CASES["ids"][case]
    encoded = QWEN.encode(CASES["texts"][case], allow_special=True)
    assert encoded.dtype == np.int32 and encoded.tolist() == ids
    assert QWEN.decode(ids, skip_special=False) == CASES["decoded"][case]
    assert QWEN.decode(np.array(ids), skip_special=True) == CASES["decoded_skip_special"][case]


def test_special_ids_go_by_their_qwen_names():
    known = CASES["special_ids"]
    for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad"):
        assert getattr(QWEN.ids, name) == known[f"<|{name}|>"]


@given(st.lists(st.sampled_from([*tokenizers.SPECIAL_TOKENS, *tokenizers.ADDED_TOKENS, "a", " "])))
def test_text_of_a_user_never_becomes_a_special_token(pieces):
    text = "".join(pieces)
    ids = QWEN.encode(text)
    assert not set(ids.tolist()) & set(CASES["special_ids"].values())
    assert QWEN.decode(ids) == text


@given(st.text(st.characters(codec="utf-8")))
def test_token_bytes_join_to_the_text(text):
    table = QWEN.token_bytes()
    ids = QWEN.encode(text)
    joined = b"".join(table[token_id] for token_id in ids)
    assert joined.decode() == QWEN.decode(ids)  # NFC may have changed `text` itself


def test_token_bytes_cover_every_id_and_special_ids_have_none():
    table = QWEN.token_bytes()
    assert len(table) == QWEN.vocab_size == 600
    assert {table.index(bytes([byte])) for byte in range(256)} <= set(range(578))
    assert table[QWEN.ids.im_end] == table[QWEN.ids.image_pad] == b""
    assert table[CASES["special_ids"]["<tool_call>"]] == b"<tool_call>"


def test_ids_of_padded_rows_decode_to_nothing():
    assert QWEN.decode([39, 607, 39]) == QWEN.decode([39, 39])


def test_a_trained_tokenizer_is_laid_out_like_qwens(tmp_path):
    trained = tokenizers.train_tokenizer(TEXTS, 20, tmp_path)
    assert trained.vocab_size == 256 + 20 + 22
    assert trained.ids.endoftext == 276 and trained.ids.video_pad == 289
    qwen, ours = (
        json.loads((folder / "tokenizer.json").read_text("utf-8"))
        for folder in (GOLDEN / "tiny_untied", tmp_path)
    )
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        assert ours[part] == qwen[part]
    assert [t["content"] for t in ours["added_tokens"]] == [
        t["content"] for t in qwen["added_tokens"]
    ]
    merges = (tmp_path / "merges.txt").read_text("utf-8").splitlines()
    assert merges[0] == "#version: 0.2" and len(merges) == 21
    assert len(json.loads((tmp_path / "vocab.json").read_text("utf-8"))) == 276
    again = tokenizers.train_tokenizer(TEXTS, 20, tmp_path / "again")
    assert again.token_bytes() == trained.token_bytes()


def test_saved_files_are_read_back_the_same(tmp_path):
    QWEN.save(tmp_path)
    again = Tokenizer.from_dir(tmp_path)
    text = "Hello, <|im_end|> 你好"
    assert again.encode(text, True).tolist() == QWEN.encode(text, True).tolist()
    assert again.config == QWEN.config and again.ids == QWEN.ids
    for name in ("vocab.json", "merges.txt"):
        released = (GOLDEN / "tiny_untied" / name).read_text("utf-8")
        assert (tmp_path / name).read_text("utf-8") == released


@pytest.mark.oracle
def test_transformers_reads_a_trained_tokenizer(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained = tokenizers.train_tokenizer(TEXTS, 20, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "<|im_start|>user\nlook at 12 signs<|im_end|>"
    assert theirs(text)["input_ids"] == trained.encode(text, allow_special=True).tolist()
    assert theirs.eos_token_id == trained.ids.im_end and theirs.pad_token == "<|endoftext|>"


def test_bad_tokenizer_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is missing: name a Hugging Face"):
        Tokenizer.from_dir(tmp_path)
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer file"):
        (tmp_path / "tokenizer.json").write_text("{}")
        Tokenizer.from_dir(tmp_path)
    content = json.loads((GOLDEN / "tiny_untied" / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"] = [t for t in content["added_tokens"] if "vision_e" not in t["content"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has no token <\|vision_end\|>: a Qwen2\.5-VL"):
        Tokenizer.from_dir(tmp_path)
