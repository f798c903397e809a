"""From looks to the patches of their crops: by Pillow on the host, or where the images are.

>>> way_for("cpu"), way_for("tpu")
(<Way.HOST: 'host'>, <Way.PALLAS: 'pallas'>)
"""

import dataclasses
import enum
import functools
import itertools
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from r3jax import batches, patches, regions, shares
from r3jax.arrays import Array
from r3jax.buckets import ImageBucket
from r3jax.kernels import region
from r3jax.patches import VisionBatch
from r3jax.records import Look
from r3jax.shares import Share


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
    """The images that looks are cut from, each at its place, as `way` needs them.

    `planes` uint8 [places, 3, height, width] are on the device; None where the host cuts. `sides`
    are the height and width that they have room for, None for as much as comes.
    """

    way: Way
    planes: Array | None
    sides: tuple[int, int] | None


@functools.partial(jax.jit, static_argnums=0)
def empty(shape: tuple[int, ...]) -> Array:
    """Planes that show nothing."""
    return jnp.zeros(shape, jnp.uint8)


def room(
    way: Way, places: int, sides: tuple[int, int] | None = None, empty: Callable = empty
) -> Originals:
    """Room for so many images. With `sides` the shapes of programs never change."""
    shape = planes_shape(way, places, sides)
    return Originals(way, None if shape is None else empty(shape), sides)


def planes_shape(
    way: Way, places: int, sides: tuple[int, int] | None
) -> tuple[int, int, int, int] | None:
    """The shape of the planes of so many images; None where the host cuts."""
    if way is Way.HOST:
        return None
    return (places, 3, *regions.whole_tiles(*(sides or (1, 1))))


@functools.partial(jax.jit, donate_argnums=0)
def write(planes: Array, place: Array, picture: Array) -> Array:
    """Planes [places, 3, height, width] with a picture [1, 3, height, width] at a place, int32 [1];
    as they are where it is none of theirs."""
    return planes.at[place].set(picture, mode="drop")


def put(
    originals: Originals,
    places: Sequence[int],
    pictures: Mapping[int, np.ndarray],
    write: Callable = write,
    parts: int = 1,
    share: Share = shares.ALL,
    where: Callable = np.asarray,
) -> Originals:
    """Puts images, uint8 [height, width, 3], in these places, for whatever was there.

    Places are dealt to so many `parts`; `pictures` has those of this host's `share`, which `where`
    brings there. The room given is used up.
    Raises: ValueError for an image larger than its `sides`.
    """
    planes = originals.planes
    if planes is None or not places:
        return originals
    largest = tuple(max((p.shape[axis] for p in pictures.values()), default=0) for axis in (0, 1))
    if originals.sides is not None and any(np.greater(largest, originals.sides)):
        raise ValueError(
            f"an image is up to {largest[0]} x {largest[1]} pixels (height x width), but "
            f"buckets.originals has room for {originals.sides}: raise it"
        )
    planes = _grow(planes, largest)
    size, rows, own = len(planes) // parts, [[] for _ in range(parts)], share.of(parts)
    for place in places:
        rows[place // size].append(place)
    for at_once in itertools.zip_longest(*rows):  # one of each part
        within = np.full(parts, size, np.int32)  # beyond a part's end: none of its places
        shown = np.zeros((len(own), *planes.shape[1:]), np.uint8)
        for part, place in enumerate(at_once):
            if place is not None:
                within[part] = place % size
            if place in pictures:
                shown[part - own.start] = regions.as_planes(pictures[place], *planes.shape[2:])
        planes = write(planes, within, where(shown))
    return dataclasses.replace(originals, planes=planes)


def _grow(planes: Array, needed: tuple[int, int]) -> Array:
    """Room for sides of these pixels, in powers of two, so that it seldom changes."""
    more = [0, 0]
    for axis, (side, stored) in enumerate(zip(needed, planes.shape[2:])):
        if side > stored:
            more[axis] = (1 << (side - 1).bit_length()) - stored
    return jnp.pad(planes, [(0, 0), (0, 0), *((0, n) for n in more)]) if any(more) else planes


def cut(
    originals: Originals,
    asked: Sequence[Sequence[tuple[int, Look]]],
    choices: Sequence[ImageBucket],
    what: str,
    run: Callable = region.cut_regions,
) -> tuple[VisionBatch, ImageBucket, list[list[np.ndarray]]]:
    """Cuts what looks show and arranges the patches in the smallest bucket that takes them.

    `asked` are, of each part of the groups, looks with the places of their images in that part:
    each part has rows of its own. Equal regions are cut once; crops that show no region are taken
    as they are. Returns the batch, its bucket and each look's feature indices, counted from its
    part's.
    Raises: ValueError where no bucket takes them, naming `what` they are.
    """
    regional = all(look.region is not None for part in asked for _, look in part)
    if originals.planes is None or not regional:
        return _cut_on_host(asked, choices, what)
    given = [[look.region._replace(image=place) for place, look in part] for part in asked]
    batch, bucket, index = regions.pack_parts(given, choices, what)
    images = run(originals.planes, batch, bucket.slots, region.Backend(originals.way))
    return images, bucket, index


def _cut_on_host(
    asked: Sequence[Sequence[tuple[int, Look]]], choices: Sequence[ImageBucket], what: str
) -> tuple[VisionBatch, ImageBucket, list[list[np.ndarray]]]:
    """Crops by Pillow on as many threads as there are cores: it lets others run while it works."""
    keys = [[_shown(place, look) for place, look in part] for part in asked]
    distinct = [dict(zip(names, (look for _, look in part))) for names, part in zip(keys, asked)]
    grids = [[grid_of(look) for look in part.values()] for part in distinct]
    bucket = batches.choose_images(grids, choices, what)
    shown, index = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, sizes, names in zip(distinct, grids, keys):
            ours = list(pool.map(lambda look: patches.patchify(look.crop), part.values()))
            batch, found = patches.arrange(ours, sizes, bucket.rows, bucket.windows, bucket.slots)
            where = dict(zip(part, found))
            shown.append(batch)
            index.append([where[name] for name in names])
    return batches.join_rows(shown), bucket, index


def grid_of(look: Look) -> tuple[int, int]:
    """Rows and columns of the tokens of a look's crop, which is cut only where nothing else says
    how large it is."""
    return patches.merged_grid(look.region[2:] if look.region else look.crop.shape)


def _shown(place: int, look: Look) -> Hashable:
    """Looks with an equal one show the same."""
    return (place, look.region) if look.region else (look.crop.shape, look.crop.tobytes())
