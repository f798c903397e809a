"""Packing: every token, position and feature of every episode lands where the update reads it."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3jax import batches, buckets, patches, positions
from r3jax.records import Episode, Look, LookOutcome, Prompt, Source, Stop
from r3jax.update import pack as update_pack
from tests import tiny

IMAGE = 99
SHAPES = buckets.Buckets(
    prompt_tokens=(24, 48),
    suffix_tokens=(24, 64),
    look_tokens=16,
    images=(buckets.ImageBucket(2, 1, 36), buckets.ImageBucket(2, 4, 64)),
    crops=(buckets.ImageBucket(4, 1, 16), buckets.ImageBucket(8, 2, 36)),
)


def picture(rows: int, columns: int, shade: int) -> np.ndarray:
    """An image of rows x columns tokens; each 28x28 square has one colour of its own."""
    place = np.arange(rows * columns)
    cells = np.stack([place // columns, place % columns, np.full(rows * columns, shade)])
    cells = (cells.T.reshape(rows, columns, 3) * [30, 30, 1]).astype(np.uint8)
    return cells.repeat(28, 0).repeat(28, 1)


def encode(vision: patches.VisionBatch) -> np.ndarray:
    """A stand-in for the tower: the colour of each 2x2 block of patches, [F, 3], -1 for padding."""
    rows = vision.patches.reshape(-1, patches.UNIT, 3, patches.TEMPORAL * patches.PATCH**2)
    colour = rows.mean((1, 3)) * np.array(patches.STD) + np.array(patches.MEAN)
    real = vision.segment.reshape(-1, patches.UNIT).all(1)
    return np.where(real[:, None], np.rint(colour * 255), -1).astype(int)


def colours(images) -> np.ndarray:
    """What `encode` should give for the images' tokens in raster order, [tokens, 3]."""
    return np.concatenate(
        [image[::28, ::28].reshape(-1, 3) for image in images] or [np.zeros((0, 3))]
    )


def interleave(rng, images, words: int, start: int = 0):
    """Words with images among them: tokens, source, positions, next position. A word is last."""
    tokens, source = [], []
    for image in images:
        rows, columns = patches.merged_grid(image.shape)
        before = rng.integers(0, 90, rng.integers(1, words + 1)).tolist()
        tokens += before + [IMAGE] * (rows * columns)
        source += rng.integers(0, 2, len(before)).tolist() + [int(Source.IMAGE)] * (rows * columns)
    tokens += rng.integers(0, 90, words).tolist()
    source += rng.integers(0, 2, words).tolist()
    grids = [patches.merged_grid(image.shape) for image in images]
    tokens = np.array(tokens, np.int32)
    where, after = positions.rope_index(tokens, grids, IMAGE, start)
    return tokens, np.array(source, np.int8), where, after


def pack(prompts, episodes):
    """Groups as the update takes them."""
    shape = (len(prompts), len(episodes[0]))
    return update_pack.pack(prompts, episodes, np.ones(shape), np.ones(shape, bool), SHAPES, IMAGE)


def make_prompt(rng, images) -> Prompt:
    tokens, _, where, after = interleave(rng, images, 4)
    return Prompt(tokens, where, tuple(images), after)


def make_episode(rng, prompt: Prompt, crops) -> Episode:
    tokens, source, where, _ = interleave(rng, crops, 3, prompt.next_position)
    logp = np.where(source == Source.SAMPLED, rng.normal(size=len(tokens)), 0).astype(np.float32)
    views = tuple(Look("", LookOutcome.OK, cut=functools.partial(np.array, crop)) for crop in crops)
    views += (Look("", LookOutcome.OUTSIDE),)
    return Episode(tokens, source, where, logp, views, Stop.END, "", None)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3))
def test_every_token_lands_where_it_should(seed, B, G):
    rng = np.random.default_rng(seed)

    def draw(count):
        return [picture(*rng.integers(1, 3, 2), rng.integers(1, 4)) for _ in range(count)]

    prompts = [make_prompt(rng, draw(rng.integers(1, 3))) for _ in range(B)]
    episodes = [[make_episode(rng, p, draw(rng.integers(0, 3))) for _ in range(G)] for p in prompts]
    prompt, suffix, _, (images, crops) = pack(prompts, episodes)[:4]
    features = np.concatenate([encode(images), encode(crops)])
    for b, one in enumerate(prompts):
        n = len(one.tokens) - 1
        assert prompt.mask[b].tolist() == [True] * n + [False] * (prompt.mask.shape[1] - n)
        np.testing.assert_array_equal(prompt.tokens[b, :n], one.tokens[:-1])
        np.testing.assert_array_equal(prompt.positions[:, b, :n], one.positions[:, :-1])
        seen = prompt.feature_index[b]
        np.testing.assert_array_equal(
            np.flatnonzero(seen >= 0), np.flatnonzero(one.tokens == IMAGE)
        )
        np.testing.assert_array_equal(features[seen[seen >= 0]], colours(one.images))
        for g, episode in enumerate(episodes[b]):
            check_episode(suffix, (b, g), one, episode, features)


def check_episode(suffix, at, prompt: Prompt, episode: Episode, features) -> None:
    n = len(episode.tokens)
    whole = np.concatenate([prompt.tokens[-1:], episode.tokens])
    where = np.concatenate([prompt.positions[:, -1:], episode.positions], axis=1)
    assert suffix.valid[at].sum() == n and suffix.valid[at][:n].all()
    np.testing.assert_array_equal(suffix.inputs[at][:n], whole[:-1])
    np.testing.assert_array_equal(suffix.targets[at][:n], whole[1:])
    np.testing.assert_array_equal(suffix.positions[(slice(None), *at)][:, :n], where[:, :-1])
    np.testing.assert_array_equal(suffix.trained[at][:n], episode.source == Source.SAMPLED)
    np.testing.assert_array_equal(suffix.logp_sampled[at][:n], episode.logp)
    assert not suffix.trained[at][n:].any()
    index = suffix.feature_index[at]
    np.testing.assert_array_equal(np.flatnonzero(index >= 0), np.flatnonzero(whole == IMAGE))
    np.testing.assert_array_equal(features[index[index >= 0]], colours(episode.crops))


def test_equal_images_are_stored_once_and_the_smallest_bucket_is_taken():
    one, other = picture(1, 2, 3), picture(2, 1, 3)
    batch, index = batches.pack_images([one, other, one.copy(), one], SHAPES.images, "images")
    assert batch.segment.shape == (2, 1, 36)
    assert (batch.segment > 0).sum() == 4 * patches.UNIT
    np.testing.assert_array_equal(index[0], index[2])
    np.testing.assert_array_equal(encode(batch)[index[1]], colours([other]))
    larger, _ = batches.pack_images(
        [picture(1, 1, shade) for shade in (1, 2, 3)], SHAPES.images, ""
    )
    assert larger.segment.shape == (2, 4, 64)


def test_a_batch_without_crops_packs():
    batch, index = batches.pack_images([], SHAPES.crops, "crops")
    assert batch.segment.shape == (4, 1, 16) and not batch.segment.any() and index == []


def test_an_episode_cut_off_within_a_crop_packs():
    rng = np.random.default_rng(0)
    prompt = make_prompt(rng, [picture(1, 1, 1)])
    whole = make_episode(rng, prompt, [picture(2, 2, 1)])
    n = int(np.flatnonzero(whole.tokens == IMAGE)[2])
    cut = dataclasses.replace(
        whole,
        tokens=whole.tokens[:n],
        source=whole.source[:n],
        positions=whole.positions[:, :n],
        logp=whole.logp[:n],
    )
    _, suffix, _, (images, crops) = pack([prompt], [[cut]])[:4]
    index = suffix.feature_index[0, 0]
    assert (index >= 0).sum() == 1  # the last token is a target only
    seen = encode(crops)[index[index >= 0] - images.segment.size // patches.UNIT]
    np.testing.assert_array_equal(seen, colours(cut.crops)[:1])


def test_too_many_crops_name_the_buckets_and_the_way_out():
    crops = [picture(2, 2, shade) for shade in range(17)]
    message = (
        r"crops: 17 images of 17 windows with up to 16 patches fit no bucket of "
        r"\['4x1x16', '8x2x36'\]: add a larger image bucket, or lower the pixel bounds"
    )
    with pytest.raises(ValueError, match=message):
        batches.pack_images(crops, SHAPES.crops, "crops")
    with pytest.raises(ValueError, match="prompt images: 1 images of 2 windows with up to 64"):
        batches.pack_images([picture(4, 5, 1)], SHAPES.images[:1], "prompt images")


def test_a_prompt_or_an_episode_longer_than_its_buckets_is_named():
    rng = np.random.default_rng(0)
    long_prompt = make_prompt(rng, [picture(7, 7, 1)])
    with pytest.raises(ValueError, match=r"prompt_tokens needs \d+, the largest bucket is 48"):
        pack([long_prompt], [[make_episode(rng, long_prompt, [])]])
    prompt = make_prompt(rng, [picture(1, 1, 1)])
    long_episode = make_episode(rng, prompt, [picture(3, 3, 1)] * 8)
    with pytest.raises(ValueError, match=r"suffix_tokens needs \d+, the largest bucket is 64"):
        pack([prompt], [[long_episode]])


def test_the_tiny_teachers_pack_as_they_were_written():
    prompt, episode = tiny.teach(tiny.trace(0))
    batch = tiny.pack([prompt], [[episode]])
    n = len(episode.tokens)
    assert batch.suffix.targets[0, 0, :n].tolist() == episode.tokens.tolist()
    first_crop = batch.shown[0].segment.size // patches.UNIT
    assert batch.suffix.feature_index.max() >= first_crop > batch.prompt.feature_index.max()


def test_a_batch_with_features_of_some_prompts_only_is_refused():
    rng = np.random.default_rng(0)
    prompts = [make_prompt(rng, [picture(1, 1, shade)]) for shade in (1, 2)]
    prompts[0] = dataclasses.replace(prompts[0], features=np.zeros((1, 4), np.float32))
    episodes = [[make_episode(rng, prompt, [])] for prompt in prompts]
    with pytest.raises(ValueError, match="1 of 2 prompts have features: expected all of a batch"):
        pack(prompts, episodes)
