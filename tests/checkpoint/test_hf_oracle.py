"""What we export, Transformers loads, and it computes the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from r3jax.checkpoint import hf, hf_config, hf_table, safetensors_io
from r3jax.model import qwen
from tests.model import sequences

pytest.importorskip("torch", reason="torch is not installed (extra: test)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from tests.model import oracle  # noqa: E402  it imports torch

pytestmark = pytest.mark.oracle
GOLDEN = Path(__file__).parents[1] / "golden"
LOGIT_TOLERANCE = 5e-4  # absolute; their standard deviation is 2.9


@pytest.fixture(scope="module", params=["tied", "untied"])
def exported(request, tmp_path_factory) -> Path:
    """A golden model, imported and exported again in several shards."""
    out = tmp_path_factory.mktemp(request.param) / "exported"
    model = hf.load_hf(GOLDEN / f"tiny_{request.param}")
    carry_from = GOLDEN / "tiny_untied"  # the one that has tokenizer files
    hf.save_hf(out, model.config, model.params, carry_from, max_shard_bytes=500_000)
    return out


@pytest.mark.parametrize("name", ["text", "interleaved"])
def test_logits_of_the_export_are_ours(exported, name):
    theirs, loading = transformers.AutoModelForImageTextToText.from_pretrained(
        exported, attn_implementation="eager", output_loading_info=True
    )
    assert not any(loading[kind] for kind in loading), loading
    model = hf.load_hf(exported)
    tokens, images = sequences.golden_case(name, model.config)
    expected = oracle.logits(theirs.float().eval(), tokens, images).detach().numpy()
    given = sequences.inputs(tokens, images, model.config)
    found = sequences.logits(qwen.Qwen25VL(model.config), model.params, given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=LOGIT_TOLERANCE)


def test_tokenizer_and_image_processor_load(exported, monkeypatch):
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    source = transformers.AutoTokenizer.from_pretrained(GOLDEN / "tiny_untied")
    text = "<|im_start|>user\nWhat is 12 + 7?<|im_end|>"
    assert tokenizer(text).input_ids == source(text).input_ids
    processor = transformers.AutoImageProcessor.from_pretrained(exported)
    assert processor(images=[sequences.picture("A")])["image_grid_thw"].tolist() == [[1, 10, 14]]
    # The whole processor asks for a video processor, which needs torchvision; we have no videos.
    monkeypatch.setattr(
        transformers.Qwen2_5_VLProcessor,
        "get_attributes",
        classmethod(lambda cls: ["image_processor", "tokenizer"]),
    )
    whole = transformers.AutoProcessor.from_pretrained(exported)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    prompt = whole.apply_chat_template(asked, add_generation_prompt=True)
    assert "<|vision_start|>" in prompt and prompt.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("original", [True, False], ids=["released names", "newer names"])
def test_what_transformers_saves_comes_back(original, tmp_path):
    """Both of its layouts of keys, its nested config.json, in shards, as bfloat16."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        GOLDEN / "tiny_untied", dtype="bfloat16"
    )
    model.save_pretrained(tmp_path, max_shard_size="300KB", save_original_format=original)
    stored = safetensors_io.read_headers(tmp_path)
    assert any(key.startswith("model.language_model.") for key in stored) is not original
    assert len({tensor.file for tensor in stored.values()}) > 1
    found, expected = hf.load_hf(tmp_path), hf.load_hf(GOLDEN / "tiny_untied", "bfloat16")
    assert found.config == expected.config and found.extras.dtype == "bfloat16"
    for path, leaf in hf_table.flatten(expected.params).items():
        assert hf_table.flatten(found.params)[path].tobytes() == leaf.tobytes(), path


def test_flat_config_is_read_as_transformers_reads_it(exported, tmp_path):
    """Every field of the exported config.json means to Transformers what it means to us."""
    theirs = transformers.AutoConfig.from_pretrained(exported)
    theirs.save_pretrained(tmp_path)
    assert "text_config" in json.loads((tmp_path / "config.json").read_text())
    assert hf_config.read_config(tmp_path)[0] == hf_config.read_config(exported)[0]
