"""r3jax's ways to cut looks, each up to a batch that is ready on the device."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from benchmarks import region
from benchmarks.ours import plain
from r3jax import host
from r3jax.data import images
from r3jax.records import Look, LookOutcome, Region
from r3jax.rollout import crops as ways
from r3jax.rollout.crops import Way


def crops() -> tuple[dict, dict[str, Callable[[], object]]]:
    """Sets up the work of `benchmarks.region`: in the way of this platform, and by XLA."""
    host.keep_freed_memory()
    own = ways.way_for(jax.default_backend())
    calls = {}
    for name in region.WORKS:
        calls[name], calls[f"{name} xla"] = (_cutter(name, way) for way in (own, Way.XLA))
    return {**plain.versions(), "numpy": np.__version__, "way": own.value}, calls


def _cutter(name: str, way: Way) -> Callable[[], object]:
    pictures, asked = region.work(name)
    room = ways.room(way, len(pictures))
    originals = ways.put(room, range(len(pictures)), dict(enumerate(pictures)))

    def call():
        batch, *_ = ways.cut(originals, [looks_at(pictures, asked)], [region.BUCKETS[name]], name)
        return jax.block_until_ready(jax.device_put(batch))

    return call


def looks_at(pictures: Sequence[np.ndarray], asked: Sequence[Region]) -> list[tuple[int, Look]]:
    """Looks that nobody has cut yet."""
    return [
        (one.image, Look("", LookOutcome.OK, region=one, cut=cut))
        for one in asked
        for cut in [functools.partial(images.cut_crop, pictures[one.image], one)]
    ]
