"""The model against Transformers' Qwen2.5-VL, live: random models, sizes and interleavings."""

import jax
import numpy as np
import pytest

from r3jax import patches, positions
from r3jax.data import frames, images
from r3jax.model import config, qwen
from tests.model import cached, released, sequences

oracle = pytest.importorskip(
    "tests.model.oracle",
    reason="torch or transformers is missing: install the test extra",
    exc_type=ImportError,
)
if int(oracle.transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the oracle needs Transformers 5 (M-RoPE by type ids)", allow_module_level=True)

pytestmark = pytest.mark.oracle

IDS = {"image_token_id": 150, "video_token_id": 151, "vision_start_token_id": 148}
MODELS = {
    "one_key_head_tied": config.ModelConfig(
        config.TextConfig(160, 48, 2, 4, 1, 72, 12, 1e-6, 1e6, (1, 2, 3), 4096),
        config.VisionConfig(3, 32, 2, 44, 48, (2,)),
        tie_word_embeddings=True,
        vision_end_token_id=149,
        **IDS,
    ),
    "wide_heads_untied": config.ModelConfig(
        config.TextConfig(160, 64, 3, 2, 2, 96, 32, 1e-5, 1e4, (4, 6, 6), 4096),
        config.VisionConfig(4, 32, 4, 40, 64, (0, 2)),
        vision_end_token_id=149,
        **IDS,
    ),
}
LENGTH, WINDOWS = 200, 12
SEEDS = range(3)


def draw_case(seed: int, model_config):
    """Up to three pictures of random sizes between words."""
    rng = np.random.RandomState(seed)
    sides = [rng.randint(1, 8, 2) * patches.FACTOR for _ in range(1 + seed % 3)]
    pictures = [sequences.draw(int(h), int(w), seed + i) for i, (h, w) in enumerate(sides)]
    return sequences.compose(pictures, model_config, seed), pictures


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    """The same random model twice: Transformers', and ours with its parameters."""
    oracle.torch.set_num_threads(1)  # tests run side by side
    model_config = MODELS[request.param]
    theirs = oracle.build(model_config)
    oracle.randomise(theirs, seed=len(request.param))
    params = released.to_tree(oracle.tensors(theirs), model_config)
    return theirs, qwen.Qwen25VL(model_config), params


@pytest.mark.parametrize("seed", SEEDS)
def test_features_positions_logits_and_log_probs(pair, seed):
    theirs, ours, params = pair
    tokens, pictures = draw_case(seed, ours.config)
    given = sequences.inputs(tokens, pictures, ours.config, LENGTH, WINDOWS)
    np.testing.assert_array_equal(
        given.positions[:, 0, : len(tokens)], oracle.positions(theirs, tokens, pictures)
    )
    features = sequences.features(ours, params, pictures, windows=WINDOWS)
    for found, expected in zip(features, oracle.features(theirs, pictures), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    expected = oracle.logits(theirs, tokens, pictures).detach()
    found = sequences.logits(ours, params, given)
    assert found.std() > 1  # otherwise the tolerance would mean little
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=5e-4)
    np.testing.assert_allclose(
        sequences.token_logprobs(found, tokens),
        oracle.token_logprobs(expected, tokens),
        rtol=0,
        atol=5e-4,
    )


def test_gradients(pair):
    theirs, ours, params = pair

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(params, given, weight):
        return sequences.loss(ours, params, given, weight)

    for seed in SEEDS:
        tokens, pictures = draw_case(seed, ours.config)
        weight = sequences.loss_weight(tokens, ours.config)
        given = sequences.inputs(tokens, pictures, ours.config, LENGTH, WINDOWS)
        padded = np.pad(weight, (0, LENGTH - len(tokens)))
        loss, gradient = loss_and_gradient(params, given, padded)
        assert abs(float(loss) - oracle.backward(theirs, tokens, pictures, weight)) < 1e-4
        expected = released.to_tree(oracle.gradients(theirs), ours.config)
        for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
            found = gradient
            for key in path:
                found = found[key.key]
            error = np.linalg.norm(found - leaf) / np.linalg.norm(leaf)
            assert error < 1e-3, f"{jax.tree_util.keystr(path)}: relative error {error}"


def test_greedy_tokens_with_cache_and_looks(pair):
    theirs, ours, params = pair
    tokens, pictures = draw_case(1, ours.config)
    given = sequences.inputs(tokens, pictures, ours.config, LENGTH, WINDOWS)
    scripts = [((4, "B"), (4, "C"), (4, None)), ((7, "C"), (3, None))]
    suffixes = cached.decode(ours, params, given, scripts)
    allowed = sequences.num_words(ours.config)
    for script, suffix in zip(scripts, suffixes):
        looks = [(count, letter and sequences.picture(letter)) for count, letter in script]
        expected, lead = oracle.look_again(theirs, tokens, pictures, looks, allowed, ours.config)
        assert lead > 1e-3  # below it the choice would be float32's
        assert suffix.tolist() == expected.tolist()
    (plain,) = cached.decode(ours, params, given, [[(12, None)]])
    assert plain.tolist() == oracle.greedy(theirs, tokens, pictures, 12, allowed).tolist()


def test_resized_sides_and_pixels():
    pil = oracle.transformers.models.qwen2_vl.image_processing_pil_qwen2_vl
    rng = np.random.RandomState(0)
    for low, high in [(3136, 12845056), (3136, 28 * 28 * 16), (28 * 28 * 64, 28 * 28 * 256)]:
        bounds = frames.PixelBounds(low, high)
        for height, width in [*rng.randint(28, 3000, (300, 2)).tolist(), (42, 70), (98, 56)]:
            expected = pil.smart_resize(height, width, patches.FACTOR, low, high)
            assert frames.smart_resize(height, width, bounds) == tuple(expected), (height, width)
        image = sequences.draw(*rng.randint(30, 200, 2).tolist(), seed=low)
        fitted = images.prepare(image, bounds)
        np.testing.assert_array_equal(patches.patchify(fitted), oracle.pixels(fitted))


def test_next_position_is_where_transformers_goes_on(pair):
    theirs, ours, _ = pair
    tokens, pictures = draw_case(2, ours.config)
    grids = [patches.merged_grid(picture.shape) for picture in pictures]
    _, following = positions.rope_index(tokens, grids, ours.config.image_token_id)
    longer = oracle.positions(theirs, np.append(tokens, 1), pictures)
    assert longer[:, -1].tolist() == [following] * 3
