"""`from_pretrained`: logits in Transformers' layout equal the goldens, answers come with looks."""

import functools
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import r3jax
from r3jax import patches
from r3jax.records import Stop
from tests.model import released, sequences
from tests.model.test_golden import EVERY, LOGITS, golden
from tests.run import models

CASES = tuple(sequences.CASES)


@functools.cache
def vlm(tag: str = "untied") -> r3jax.VLM:
    return r3jax.from_pretrained(released.GOLDEN / f"tiny_{tag}")


@functools.cache
def asked() -> r3jax.VLM:
    """A model with a chat format of its own, of small images."""
    return r3jax.from_pretrained(models.untrained())


def processed(images) -> tuple[np.ndarray, np.ndarray]:
    """pixel_values and image_grid_thw as Transformers' processor returns them."""
    grids = [(1, image.shape[0] // 14, image.shape[1] // 14) for image in images]
    return np.concatenate([patches.patchify(image) for image in images]), np.array(grids)


def batch(side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four golden sequences as one batch, padded on a side."""
    rows = [sequences.golden_case(case, vlm().config) for case in CASES]
    longest = max(len(tokens) for tokens, _ in rows)
    ids = np.full((len(rows), longest), 578, np.int64)
    mask = np.zeros_like(ids)
    for number, (tokens, _) in enumerate(rows):
        at = slice(0, len(tokens)) if side == "right" else slice(longest - len(tokens), None)
        ids[number, at], mask[number, at] = tokens, 1
    pixels, grids = processed([image for _, images in rows for image in images])
    return ids, pixels, grids, mask


@pytest.mark.parametrize("tag, side", [("untied", "right"), ("tied", "left")])
def test_logits_of_a_padded_batch_equal_the_goldens(tag, side):
    ids, pixels, grids, mask = batch(side)
    found = vlm(tag).logits(ids, pixels, grids, mask)
    assert found.dtype == np.float32 and found.shape == (*ids.shape, 608)
    assert not found[mask == 0].any()
    for number, case in enumerate(CASES):
        logits = found[number][mask[number] == 1]
        np.testing.assert_allclose(
            logits[:, ::EVERY], golden(tag)[f"{case}/logits"], rtol=0, atol=LOGITS, err_msg=case
        )


def test_lengths_of_one_bucket_compile_once():
    model = vlm()
    model.logits(np.ones((1, 5), int))
    before = model._apply._cache_size()
    for length in (1, 17, 64):
        assert model.logits(np.ones((1, length), np.int32)).shape == (1, length, 608)
    assert model._apply._cache_size() == before


IMAGE = 590
ONE = np.zeros((16, 1176), np.float32)


@pytest.mark.parametrize(
    "ids, pixels, grids, message",
    [
        ([[1, 2], [IMAGE] * 2], ONE, [[1, 4, 4]], "row 1 of input_ids has 2 image tokens (id 590)"),
        ([[1, IMAGE]], ONE, [[1, 4, 4]], "its images (image 0) give 4 features"),
        ([[IMAGE]], None, None, "has 1 image tokens (id 590), but its images (none is left)"),
        ([[1, 2]], ONE, [[1, 4, 4]], "image 0 belongs to no row"),
        ([[IMAGE] * 4], ONE[:12], [[1, 4, 4]], "has 12 patches, the 1 images of image_grid_thw"),
        ([[IMAGE] * 4], ONE[:, :9], [[1, 4, 4]], "expected float [patches, 1176], found [16, 9]"),
        ([[IMAGE] * 8], ONE, [[2, 4, 4]], "expected (1, even, even) for a still image"),
        ([[608]], None, None, "row 0 of input_ids has id 608, expected 0..607"),
        ([1, 2], None, None, "input_ids: expected int [B, T], found int64 [2]"),
    ],
)
def test_inputs_that_do_not_belong_together_are_errors(ids, pixels, grids, message):
    grids = None if grids is None else np.array(grids)
    with pytest.raises(ValueError) as caught:
        vlm().logits(np.array(ids), pixels, grids)
    assert message in str(caught.value)


def test_a_row_without_tokens_and_a_mask_of_another_shape_are_errors():
    with pytest.raises(ValueError, match="row 1 of input_ids is all padding"):
        vlm().logits(np.ones((2, 2), int), attention_mask=np.array([[1, 1], [0, 0]]))
    with pytest.raises(ValueError, match="expected the shape of input_ids"):
        vlm().logits(np.ones((2, 2), int), attention_mask=np.ones((2, 3)))


def test_look_again_takes_paths_pictures_and_arrays_alike(tmp_path):
    image = sequences.picture("A")
    Image.fromarray(image).save(tmp_path / "a.png")
    given = (image, Image.fromarray(image), tmp_path / "a.png", str(tmp_path / "a.png"))
    model = asked()
    episodes = [model.look_again(i, "What is it?", max_looks=0, max_text_tokens=8) for i in given]
    assert len({tuple(e.tokens) for e in episodes}) == 1
    assert len(episodes[0].tokens) == 8 and episodes[0].stop is Stop.LENGTH
    with pytest.raises(
        ValueError, match=r"expected uint8 \[height, width, 3\], found uint8 \[4, 4"
    ):
        model.look_again(np.zeros((4, 4), np.uint8), "?")


def test_seed_and_temperature_choose_the_episode():
    ask = functools.partial(
        asked().look_again, sequences.picture("B"), "?", 1.0, max_looks=0, max_text_tokens=8
    )
    assert ask(seed=1).tokens.tolist() == ask(seed=1).tokens.tolist()
    assert ask(seed=1).tokens.tolist() != ask(seed=2).tokens.tolist()


def test_in_bfloat16_weights_take_half_the_memory_and_are_saved_as_they_are(tmp_path):
    half = r3jax.from_pretrained(vlm().directory, "bfloat16")
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(half.params)} == {"bfloat16"}
    ids = np.arange(9)[None]
    found, exact = half.logits(ids), vlm().logits(ids)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    half.save_pretrained(tmp_path / "copy")
    copy = r3jax.from_pretrained(tmp_path / "copy", "bfloat16")
    assert (copy.logits(ids) == found).all()


def test_saving_carries_everything_along(tmp_path):
    vlm().save_pretrained(tmp_path / "copy")
    copy = r3jax.from_pretrained(tmp_path / "copy")
    ids = np.arange(9)[None]
    assert (copy.logits(ids) == vlm().logits(ids)).all()
    for name in ("tokenizer.json", "preprocessor_config.json", "chat_template.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (vlm().directory / name).read_bytes()


def test_a_model_without_tokenizer_gives_logits_and_says_what_it_lacks(tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(vlm().directory / name, tmp_path)
    model = r3jax.from_pretrained(tmp_path)
    assert model.logits(np.ones((1, 3), int)).shape == (1, 3, 608)
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json is missing: name a Hugging Face"):
        model.look_again(sequences.picture("B"), "?")


def test_importing_the_package_loads_no_jax():
    code = "import sys, r3jax; assert 'jax' not in sys.modules; r3jax.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'r3jax' has no attribute 'nothing'" in done.stderr
