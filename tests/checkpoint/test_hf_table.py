"""The table between our parameters and Hugging Face's."""

import math
from pathlib import Path

import numpy as np
import pytest

from r3jax.checkpoint import hf_config, hf_table
from r3jax.checkpoint.errors import CheckpointError
from r3jax.model.config import SIZES

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG, _ = hf_config.read_config(GOLDEN / "tiny_untied")
SHAPES = {place.key: place.theirs for place in hf_table.places(CONFIG)}


def test_every_place_is_inverted_exactly():
    for place in hf_table.places(CONFIG):
        tensor = np.arange(math.prod(place.theirs)).reshape(place.theirs)
        ours = place.from_hf(tensor)
        assert ours.shape == place.ours
        np.testing.assert_array_equal(place.to_hf(ours), tensor)


def test_layout_of_fused_heads():
    """Row (part, head, h) of the fused qkv matrix becomes [:, part, head, h]."""
    place = next(p for p in hf_table.places(CONFIG) if p.key == "visual.blocks.1.attn.qkv.weight")
    heads, width = CONFIG.vision.num_heads, CONFIG.vision.head_dim
    tensor = np.arange(math.prod(place.theirs)).reshape(place.theirs)
    row = (2 * heads + 3) * width + 5
    np.testing.assert_array_equal(place.from_hf(tensor)[:, 2, 3, 5], tensor[row])


@pytest.mark.parametrize(("size", "parameters"), [("3B", 3_754_622_976), ("7B", 8_292_166_656)])
def test_released_sizes_add_up(size, parameters):
    """The released index files give these totals (in bytes of bfloat16: twice as many)."""
    places = hf_table.places(SIZES[size])
    assert sum(math.prod(place.theirs) for place in places) == parameters
    assert len({place.key for place in places}) == len(places)


def newer(key: str) -> str:
    for released, name in (("visual.", "model.visual."), ("model.", "model.language_model.")):
        if key.startswith(released):
            return name + key.removeprefix(released)
    return key


def test_newer_names_find_the_same_places():
    matched = hf_table.match(
        hf_table.places(CONFIG), {newer(key): shape for key, shape in SHAPES.items()}
    )
    assert {key: place.key for key, place in matched.items()} == {newer(k): k for k in SHAPES}


def test_error_lists_missing_unknown_doubled_and_misshapen():
    found = dict(SHAPES)
    del found["model.norm.weight"]
    found["visual.extra.weight"] = (3,)
    found["model.visual.merger.ln_q.weight"] = (48,)
    found["model.layers.2.mlp.up_proj.weight"] = (64, 160)
    with pytest.raises(CheckpointError) as caught:
        hf_table.match(hf_table.places(CONFIG), found)
    assert dict(caught.value.problems) == {
        "model.norm.weight": "missing; expected shape (64,), found nothing",
        "visual.extra.weight": "unknown key of shape (3,); expected no such tensor",
        "model.visual.merger.ln_q.weight": "found twice, under its released and its newer name",
        "model.layers.2.mlp.up_proj.weight": "expected shape (160, 64), found (64, 160)",
    }
    for key, wrong in caught.value.problems:
        assert f"{key}: {wrong}" in str(caught.value)


def test_long_list_of_problems_names_them_all():
    with pytest.raises(CheckpointError) as caught:
        hf_table.match(hf_table.places(CONFIG), {})
    assert len(caught.value.problems) == len(SHAPES)
    assert all(key in str(caught.value) for key in SHAPES)
    assert str(caught.value).count("expected shape") == 10
