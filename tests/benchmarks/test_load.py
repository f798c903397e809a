"""Both sides of the loading benchmark deliver the same rows: tokens, labels, patches."""

import collections

import numpy as np
import pytest

from benchmarks import load
from benchmarks.ours import load as ours
from r3jax import patches
from r3jax.data import images, sources

ROWS = load.BATCH  # one batch


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(load.write(tmp_path_factory.mktemp("vlir"), ROWS))


@pytest.fixture(scope="module")
def batch(path):
    (only,) = ours.batches(path)()
    return only


def test_an_epoch_is_all_rows_once_and_every_row_has_its_looks(path, batch):
    rows = sources.read_sft(path)
    assert len(rows) == ROWS and all(row.num_crops == load.LOOKS for row in rows)
    images_of_row = [len(np.unique(segment[segment > 0])) for segment in batch.shown[0].segment]
    assert sum(images_of_row) == ROWS
    assert batch.suffix.trained.any(axis=-1).all()


def test_files_hold_images_of_a_megapixel_and_the_crops_that_we_cut(path, batch):
    original = sources.read_sft(path)[0].image
    assert images.open_image(original).shape == (*load.SIZES[0], 3)
    names = [f"{row}_{turn}.png" for row in range(ROWS) for turn in range(load.LOOKS)]
    files = [patches.patchify(images.open_image(original.parent / name)) for name in names]
    assert _levels(np.concatenate(files)) == _levels(_patches(batch.shown[1]))


@pytest.mark.slow
@pytest.mark.oracle
def test_the_peer_delivers_the_same_tokens_labels_and_crops(path, batch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from benchmarks.peers import load as peer

    (theirs,) = peer.data_loader(path, workers=0)
    found = {
        _row(ids[kept == 1]) for ids, kept in zip(theirs["input_ids"], theirs["attention_mask"])
    }
    prompt, suffix = batch.prompt, batch.suffix
    ids = [
        np.concatenate([prompt.tokens[row][prompt.mask[row]], suffix.inputs[row, 0, :1]])
        for row in range(ROWS)
    ]
    assert found == {
        _row(np.concatenate([start, suffix.targets[row, 0][suffix.valid[row, 0]]]))
        for row, start in enumerate(ids)
    }
    assert int((theirs["labels"] != peer.IGNORED).sum()) == suffix.trained.sum()

    flat = theirs["pixel_values"].numpy()
    sizes = theirs["image_grid_thw"].prod(1).numpy()
    per_image = np.split(flat, np.cumsum(sizes)[:-1])
    crops = np.concatenate([one for i, one in enumerate(per_image) if i % (1 + load.LOOKS)])
    assert _levels(crops) == _levels(_patches(batch.shown[1]))
    # Pillow 13 resizes an image's height first: other levels, as many patches of the same picture.
    whole = np.concatenate(per_image[:: 1 + load.LOOKS])
    mine = _patches(batch.shown[0])
    assert whole.shape == mine.shape
    np.testing.assert_allclose(np.sort(whole.mean(-1)), np.sort(mine.mean(-1)), atol=0.02)


def _patches(shown) -> np.ndarray:
    """The patches of a batch of images, without padding."""
    return np.asarray(shown.patches)[np.asarray(shown.segment) > 0]


def _levels(flat: np.ndarray) -> collections.Counter:
    """How often each patch comes, as the 8-bit levels that it was made of."""
    mean, std = (np.array(values)[None, :, None] for values in (patches.MEAN, patches.STD))
    levels = np.rint((flat.reshape(len(flat), 3, -1) * std + mean) * 255).astype(np.uint8)
    return collections.Counter(one.tobytes() for one in levels)


def _row(ids) -> tuple[int, ...]:
    return tuple(int(one) for one in ids)
