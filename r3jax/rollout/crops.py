"""The ways from boxes to patches of crops, and which of them a device gets.

>>> way_for("cpu"), way_for("tpu")
(<Way.HOST: 'host'>, <Way.PALLAS: 'pallas'>)
"""

import dataclasses
import enum
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from r3jax import batches, patches, regions
from r3jax.arrays import Array
from r3jax.buckets import ImageBucket
from r3jax.data import images
from r3jax.kernels import region
from r3jax.patches import VisionBatch
from r3jax.regions import Region


class Way(enum.StrEnum):
    """Pillow on the host, or the region kernel by XLA or Pallas where the images are."""

    HOST = "host"
    XLA = "xla"
    PALLAS = "pallas"


# On CPU Pillow is faster than XLA: `python -m benchmarks.region` measures it.
_WAYS = {"cpu": Way.HOST, "gpu": Way.XLA, "tpu": Way.PALLAS}


def way_for(platform: str) -> Way:
    """The way that a platform takes, named as `jax.default_backend()` does.

    Raises: ValueError for a platform that is not known.
    """
    if platform not in _WAYS:
        raise ValueError(
            f"no way to cut crops is chosen for platform {platform!r}, only for {sorted(_WAYS)}: "
            f"name one of {[way.value for way in Way]}"
        )
    return _WAYS[platform]


@dataclasses.dataclass(frozen=True)
class Originals:
    """The images that regions are cut from, uint8 [height, width, 3] each, for one `way`.

    `planes` are the same on the device, None where the host cuts.
    """

    way: Way
    pictures: Sequence[np.ndarray]
    planes: Array | None


def keep(pictures: Sequence[np.ndarray], way: Way, height: int = 1, width: int = 1) -> Originals:
    """Puts images where `way` cuts them: once a batch of prompts.

    On a device they are stored with sides of at least `height` and `width`; the largest that may
    come, and one number of images, keep the program's shapes the same.
    """
    if way is Way.HOST:
        return Originals(way, pictures, None)
    planes = regions.stack_planes(pictures, height, width)
    return Originals(way, pictures, jax.device_put(planes))


def cut(
    originals: Originals, asked: Sequence[Region], choices: Sequence[ImageBucket], what: str
) -> tuple[VisionBatch, list[np.ndarray]]:
    """Cuts and enlarges regions and arranges their patches in the smallest bucket that takes them.

    Equal regions are cut once. Returns the batch and each region's feature indices.
    Raises: ValueError where no bucket takes them, naming `what` they are.
    """
    if originals.way is Way.HOST:
        return _cut_on_host(originals.pictures, asked, choices, what)
    batch, bucket, index = regions.pack_regions(asked, choices, what)
    backend = region.Backend(originals.way)
    return region.cut_regions(originals.planes, batch, bucket.slots, backend), index


def _cut_on_host(
    pictures: Sequence[np.ndarray],
    asked: Sequence[Region],
    choices: Sequence[ImageBucket],
    what: str,
) -> tuple[VisionBatch, list[np.ndarray]]:
    """Crops by Pillow on as many threads as there are cores: it lets others run while it works."""

    def one(given: Region) -> np.ndarray:
        return patches.patchify(images.cut_crop(pictures[given.image], given))

    distinct = list(dict.fromkeys(asked))
    grids = [patches.merged_grid((given.height, given.width)) for given in distinct]
    bucket = batches.choose_images(grids, choices, what)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cut_patches = list(pool.map(one, distinct))
    batch, index = patches.arrange(cut_patches, grids, bucket.rows, bucket.windows, bucket.slots)
    where = dict(zip(distinct, index))
    return batch, [where[given] for given in asked]
