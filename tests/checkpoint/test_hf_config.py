"""config.json in its three layouts, and what it may not say."""

import copy
import json
from pathlib import Path

import pytest

from r3jax.checkpoint import hf_config
from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.hf_config import HFExtras
from r3jax.model.config import SIZES

GOLDEN = Path(__file__).parents[1] / "golden"
EXTRAS = HFExtras(bos_token_id=578, eos_token_id=580, vision_token_id=589, dtype="float32")


def nested() -> dict:
    """The layout that Transformers 5 writes."""
    return json.loads((GOLDEN / "tiny_untied" / "config.json").read_text())


def flat() -> dict:
    return hf_config.released_config(*hf_config.parse_config(nested()))


def hybrid() -> dict:
    """Flat numbers at the root and again in text_config, whose rope entry has been renamed."""
    text = nested()["text_config"] | {"rope_scaling": {"type": "default", "rope_type": "default"}}
    return flat() | {"text_config": text}


def test_three_layouts_say_the_same():
    expected = (hf_config.parse_config(nested())[0], EXTRAS)
    assert hf_config.parse_config(nested()) == expected
    assert hf_config.parse_config(flat()) == expected
    assert hf_config.parse_config(hybrid()) == expected


@pytest.mark.parametrize("size", SIZES)
def test_released_layout_reads_back(size):
    extras = HFExtras(151643, [151645, 151643], 151643, 151654, "bfloat16")
    released = json.loads(json.dumps(hf_config.released_config(SIZES[size], extras)))
    assert hf_config.parse_config(released) == (SIZES[size], extras)
    assert "text_config" not in released and released["torch_dtype"] == "bfloat16"


def test_sparse_vision_config_means_the_released_numbers():
    config = hf_config.released_config(SIZES["7B"], HFExtras())
    config["vision_config"] = {"hidden_size": 1280, "in_chans": 3, "spatial_patch_size": 14}
    del config["image_token_id"], config["rope_theta"]
    assert hf_config.parse_config(config)[0] == SIZES["7B"]


def test_tied_may_be_said_in_text_config_only():
    config = nested()
    del config["tie_word_embeddings"]
    assert not hf_config.parse_config(config)[0].tie_word_embeddings
    config["text_config"]["tie_word_embeddings"] = True
    assert hf_config.parse_config(config)[0].tie_word_embeddings


def test_older_name_of_dtype():
    config = nested()
    del config["dtype"]
    assert hf_config.parse_config(config | {"torch_dtype": "float16"})[1].dtype == "float16"


WRONG = {
    "heads do not divide": ({"hidden_size": 66}, "num_attention_heads 4 does not divide hidden"),
    "kv heads do not divide": ({"num_key_value_heads": 3}, "num_kv_heads 3 must divide"),
    "missing": ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
    "section": ({"rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]}}, "mrope_section"),
    "no section": ({"rope_scaling": None}, "mrope_section is missing"),
    "yarn": ({"rope_scaling": {"type": "yarn", "mrope_section": [2, 3, 3]}}, "rope type.*yarn"),
    "other model": ({"model_type": "qwen2_vl"}, "model_type is 'qwen2_vl', expected 'qwen2_5_vl'"),
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "window": ({"use_sliding_window": True}, "use_sliding_window is True"),
    "token": ({"image_token_id": 608}, "image_token_id is 608; expected an id below"),
    "root and text": (
        {"text_config": {"hidden_size": 128}},
        "hidden_size is 128 in text_config and 64 at the root",
    ),
    "vision width": ({"vision_config": {"out_hidden_size": 48}}, "out_hidden_size 48 must equal"),
    "vision aliases": ({"vision_config": {"in_chans": 3, "in_channels": 1}}, "in_channels and in_"),
    "two thetas": ({"text_config": {"rope_theta": 1e4}}, "rope_theta has contradicting values"),
    "wrong type": ({"vocab_size": "many"}, "config.json"),
    "text is text": ({"text_config": "a"}, "config.json: text_config: expected a JSON obj.* 'a'"),
    "vision is text": ({"vision_config": "a"}, "vision_config: expected a JSON object, found 'a'"),
    "rope is a list": ({"rope_scaling": [1]}, r"rope_scaling: expected a JSON .*, found \[1\]"),
    "inner rope": ({"text_config": {"rope_scaling": 7}}, "text_config.rope_scaling: exp.*found 7"),
    "dtype": ({"dtype": 16}, "dtype: expected text such as 'bfloat16', found 16"),
}


@pytest.mark.parametrize("name", WRONG)
def test_contradiction_names_the_field(name, tmp_path):
    change, message = WRONG[name]
    config = copy.deepcopy(flat()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        hf_config.read_config(tmp_path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        hf_config.read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"the directory .*nowhere is missing"):
        hf_config.read_config(tmp_path / "nowhere")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"Hugging Face model directory \(.*export is one\)"):
        hf_config.read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        hf_config.read_config(tmp_path)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match=r"config\.json: expected a JSON object, found \[1, "):
        hf_config.read_config(tmp_path)


def test_given_head_dim_is_read_but_has_no_released_layout():
    text = {"head_dim": 32, "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}}
    config, extras = hf_config.parse_config(flat() | text)
    assert config.text.head_dim == 32
    with pytest.raises(CheckpointError, match="head_dim 32 times num_heads 4"):
        hf_config.released_config(config, extras)
