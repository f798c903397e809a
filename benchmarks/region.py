"""Looks from boxes to patches: r3jax's ways, and Pillow with Transformers' image processor.

    python -m benchmarks.region [--json] [--only large] [--repetitions=7]

"large" are 64 looks at four images of 1920x1080, each shown with up to 448x448 pixels; "script" the
80 looks of `script`, 224x224 from 448x448. Images are in memory, for r3jax's kernel on the device.
The peer ends with flat patches, r3jax with rows of windows on the device. The rows called r3jax are
of the way that it takes on this device; they say what the other way would take.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks import cli, mini, script, timing
from benchmarks.side import Side
from benchmarks.table import OURS, Result, Row
from r3jax.buckets import ImageBucket
from r3jax.data import frames
from r3jax.records import Region

PEER, XLA = "Transformers", "r3jax by XLA"
LOOKS = 64
HEIGHT, WIDTH = 1080, 1920  # of a large image
IMAGES = 4
CROP_BOUNDS = frames.PixelBounds.of_tokens(4, 256)
SIDES = (48, 1000)  # pixels: the least and the most that a box is wide or high
BUCKETS = {"large": ImageBucket(36, 36, 64), "script": ImageBucket(80, 4, 64)}
WORKS = ("large", "script")


def work(name: str) -> tuple[list[np.ndarray], list[Region]]:
    """The images of a work, uint8 [height, width, 3], and the looks at them."""
    if name == "script":
        return mini.pictures(mini.QUESTIONS), [
            script.region(q, e, look)._replace(image=q)
            for q, e in script.rows()
            for look in range(script.LOOKS)
        ]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(IMAGES)]
    return pictures, [_large_look(look) for look in range(LOOKS)]


def _large_look(look: int) -> Region:
    """A look at a large image; its longer side is at most four times the shorter one."""
    rng = np.random.default_rng([1, look])
    width, height = rng.integers(*SIDES, 2, endpoint=True)
    width, height = min(width, 4 * height), min(height, 4 * width, HEIGHT)
    x, y = rng.integers(0, [WIDTH - width + 1, HEIGHT - height + 1])
    frame = frames.Frame.fit(HEIGHT, WIDTH, CROP_BOUNDS)
    plan = frames.plan_crop(frame, (x, y, x + width, y + height), CROP_BOUNDS)
    return Region(look % IMAGES, tuple(map(int, plan.box)), plan.height, plan.width)


def run(repetitions: int = 5, only: Sequence[str] | None = None) -> Result:
    """Measures all sides at each work."""
    with (
        Side("benchmarks.peers.region", "crops", {}) as theirs,
        Side("benchmarks.ours.region", "crops", {}) as ours,
    ):
        rows = [_compare(name, theirs, ours, repetitions) for name in only or WORKS]
        about = {**theirs.about, **ours.about}
    ratios = {
        f"{row.work}_{short}": row.ratio(name)
        for row in rows
        for short, name in (("transformers", PEER), ("xla", XLA))
    }
    return Result("Looks, from boxes to patches", tuple(rows), ratios, about)


def _compare(name: str, theirs: Side, ours: Side, repetitions: int) -> Row:
    calls = {
        PEER: lambda: theirs.call(name),
        XLA: lambda: ours.call(f"{name} xla"),
        OURS: lambda: ours.call(name),
    }
    return Row(name, timing.alternate(calls, repetitions), len(work(name)[1]), "looks")


if __name__ == "__main__":
    cli.main(run, __doc__, WORKS, dtypes=())
