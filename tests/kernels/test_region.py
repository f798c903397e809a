"""Regions cut on the device are Pillow's crops, but for a level here and there."""

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from r3jax import patches, regions
from r3jax.buckets import ImageBucket
from r3jax.data import frames, images
from r3jax.kernels import lanczos, region, region_tpu, region_xla
from r3jax.plan import chips, topology
from r3jax.records import Region

BUCKET = ImageBucket(rows=2, windows=8, slots=64)  # all examples share it: one compilation
SIDES = [(150, 200), (97, 256)]  # height, width: less than the planes that hold them
MOST_TOKENS = 8  # a side of a crop: up to four windows


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with edges, ramps and noise: overshoots at both ends of the levels."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3))
    blocks = rng.integers(0, 2, (height // 16 + 1, width // 16 + 1, 3)) * 255
    blocks = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.where(rng.random((height, width, 1)) < 0.5, noise, blocks).astype(np.uint8)


def stack(pictures) -> np.ndarray:
    """Pictures as planes with room for the largest."""
    sides = regions.whole_tiles(*(max(p.shape[axis] for p in pictures) for axis in (0, 1)))
    return np.stack([regions.as_planes(picture, *sides) for picture in pictures])


PICTURES = [draw(*sides, seed) for seed, sides in enumerate(SIDES)]
PLANES = stack(PICTURES)


def expected(pictures, asked, bucket):
    """What the host makes of the same regions: Pillow's crops, patches, windows."""
    crops = [
        images.cut_crop(pictures[one.image], frames.CropPlan(one.box, 1.0, one.height, one.width))
        for one in asked
    ]
    grids = [patches.merged_grid(crop.shape) for crop in crops]
    flat = [patches.patchify(crop) for crop in crops]
    return patches.arrange(flat, grids, bucket.rows, bucket.windows, bucket.slots)[0]


def levels(values) -> np.ndarray:
    """The 8-bit levels of patches, which must be the values of levels exactly."""
    found = np.asarray(values).reshape(-1, 3, patches.PATCH_VALUES // 3)
    table = patches.normalised_levels()
    made = [np.searchsorted(table[c], found[:, c]).clip(0, 255) for c in range(3)]
    np.testing.assert_array_equal(np.stack([table[c, made[c]] for c in range(3)], 1), found)
    return np.stack(made, 1)


def check(found, wanted) -> None:
    """Places are equal, padding is zero, levels agree as the kernel promises."""
    np.testing.assert_array_equal(found.segment, wanted.segment)
    np.testing.assert_array_equal(found.hw, wanted.hw)
    assert found.patches.dtype == wanted.patches.dtype == np.float32
    shown = wanted.segment > 0
    assert not np.asarray(found.patches)[~shown].any()
    mine, theirs = (levels(np.asarray(x.patches)[shown]) for x in (found, wanted))
    difference = np.abs(mine - theirs)
    assert (difference > 1).sum() <= difference.size / 1000 and difference.max(initial=0) <= 2


@st.composite
def region_of(draw):
    image = draw(st.integers(0, len(SIDES) - 1))
    height, width = SIDES[image]
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    rows, columns = (draw(st.integers(1, MOST_TOKENS)) for _ in range(2))
    return Region(image, (x1, y1, x2, y2), rows * patches.FACTOR, columns * patches.FACTOR)


@given(st.lists(region_of(), max_size=4, unique=True))
@settings(max_examples=60)
@example([Region(0, (0, 0, 200, 150), 28, 28), Region(1, (0, 0, 256, 97), 28, 56)])  # whole
@example([Region(1, (255, 0, 256, 97), 224, 28), Region(0, (3, 149, 200, 150), 28, 224)])  # thin
@example([Region(0, (199, 149, 200, 150), 224, 224)])  # one pixel, enlarged
@example([Region(0, (10, 20, 94, 132), 112, 84)])  # as large as it is shown
@example([Region(0, (10, 20, 94, 132), 112, 168)])  # one side as large as it is shown
def test_regions_are_pillows_crops_in_the_same_places(asked):
    batch, bucket, _ = regions.pack_regions(asked, [BUCKET], "regions")
    check(region.cut_regions(PLANES, batch, bucket.slots), expected(PICTURES, asked, bucket))


def test_small_crops_lie_in_small_windows():
    bucket = ImageBucket(rows=1, windows=3, slots=16)
    asked = [Region(0, (9, 9, 70, 33), 56, 56), Region(1, (0, 0, 90, 90), 28, 112)]
    batch, _, _ = regions.pack_regions(asked, [bucket], "regions")
    check(region.cut_regions(PLANES, batch, bucket.slots), expected(PICTURES, asked, bucket))


@pytest.mark.slow
def test_a_large_image_loses_no_places():
    picture = draw(1080, 1920, seed=5)
    asked = [
        Region(0, (0, 0, 1920, 1080), 336, 588),
        Region(0, (1700, 3, 1920, 1080), 560, 112),
        Region(0, (1, 1000, 1919, 1080), 56, 1120),
        Region(0, (1817, 1019, 1920, 1080), 252, 420),
    ]
    bucket = ImageBucket(rows=2, windows=30, slots=64)
    batch, _, _ = regions.pack_regions(asked, [bucket], "regions")
    found = region.cut_regions(stack([picture]), batch, bucket.slots)
    check(found, expected([picture], asked, bucket))


def test_nothing_outside_a_box_is_seen():
    box = (30, 40, 130, 90)
    batch, bucket, _ = regions.pack_regions([Region(0, box, 56, 112)], [BUCKET], "regions")
    other = 255 - PLANES
    inside = np.s_[0, :, box[1] : box[3], box[0] : box[2]]
    other[inside] = PLANES[inside]
    first, second = (region.cut_regions(x, batch, bucket.slots) for x in (PLANES, other))
    np.testing.assert_array_equal(first.patches, second.patches)


def test_a_window_without_a_region_is_zero_whatever_it_says():
    batch, bucket, _ = regions.pack_regions([Region(0, (0, 0, 50, 50), 56, 56)], [BUCKET], "x")
    unused = batch.segment == 0
    batch.image[unused], batch.number[unused] = 1, 3
    batch.box[unused], batch.grid[unused] = (5, 5, 60, 70), (7, 7)
    found = jax.device_get(region.cut_regions(PLANES, batch, bucket.slots))
    assert found.segment[0, 0].any()
    for part in found:
        assert not part[unused].any()


def test_another_batch_of_the_bucket_compiles_nothing():
    region.cut_regions(PLANES, regions.empty_regions(BUCKET), BUCKET.slots)
    before = region.cut_regions._cache_size()
    batch, _, _ = regions.pack_regions([Region(0, (0, 0, 50, 50), 56, 56)], [BUCKET], "x")
    region.cut_regions(PLANES, batch, BUCKET.slots)
    assert region.cut_regions._cache_size() == before


def test_weights_are_lanczos():
    x = np.linspace(-3.5, 3.5, 1401)
    wanted = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    np.testing.assert_allclose(lanczos.lanczos(x.astype(np.float32)), wanted, atol=1e-6)


@given(st.lists(region_of(), min_size=1, max_size=4))
@settings(max_examples=10)
@example([Region(0, (0, 0, 200, 150), 28, 28), Region(1, (0, 0, 256, 97), 28, 56)])
@example([Region(1, (255, 0, 256, 97), 224, 28), Region(0, (199, 149, 200, 150), 28, 224)])
def test_the_kernel_for_tpus_cuts_the_same_levels(asked):
    batch, _, _ = regions.pack_regions(asked, [BUCKET], "regions")
    same_levels(PLANES, batch)


@pytest.mark.slow
def test_the_kernel_for_tpus_reads_large_boxes_in_tiles():
    planes = stack([draw(300, 700, seed=6)])
    asked = [
        Region(0, (0, 0, 700, 300), 112, 224),
        Region(0, (400, 200, 700, 300), 28, 28),
        Region(0, (3, 140, 690, 299), 28, 112),
    ]
    batch, _, _ = regions.pack_regions(asked, [BUCKET], "regions")
    same_levels(planes, batch)


@pytest.mark.slow
def test_the_kernel_compiles_for_a_tpu():
    pytest.importorskip("libtpu")
    chip = topology.devices(chips.slice_of("v5e:1x1"))
    mesh = Mesh(np.array(chip), ("chip",), axis_types=(AxisType.Auto,))
    planes = jax.ShapeDtypeStruct((4, 3, 1088, 1920), np.uint8)
    given = planes, jax.eval_shape(lambda: regions.empty_regions(BUCKET))
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec())
        ),
        given,
    )
    with jax.set_mesh(mesh):  # Pallas asks it for the kind of chip
        compiled = jax.jit(region_tpu.cut_windows).lower(*shapes).compile()
    # Windows alone are temporary: no other form of the images is.
    assert compiled.memory_analysis().temp_size_in_bytes < planes.size


def same_levels(planes, batch) -> None:
    """The TPU's kernel, interpreted, makes the windows that XLA does; sums may round otherwise."""
    found = INTERPRETED(planes, batch)
    wanted = CUT(planes, batch)
    for window in np.argwhere(batch.segment > 0):
        row, number = window
        sides = np.minimum(
            patches.FACTOR * batch.grid[row, number] - 112 * place_of(batch, row, number), 112
        )
        shown = np.s_[row, number, : sides[0], :, : sides[1]]
        difference = np.abs(np.asarray(found[shown], int) - np.asarray(wanted[shown], int))
        assert (difference > 0).sum() <= difference.size / 1000 and difference.max() <= 1


def place_of(batch, row, number) -> np.ndarray:
    """Row and column of a window among those of its region."""
    across = -(-batch.grid[row, number, 1] // patches.WINDOW)
    return np.array(divmod(batch.number[row, number], across))


INTERPRETED = jax.jit(lambda planes, batch: region_tpu.cut_windows(planes, batch, interpret=True))
CUT = jax.jit(region_xla.cut_windows)
