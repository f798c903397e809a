"""Rollouts leave nothing behind on the host, however many are made."""

import gc
import pathlib
import resource

import numpy as np
import pytest

from r3jax.records import Question
from r3jax.rollout import engine
from tests import tiny

SETTLED, LAST = range(30, 50), range(180, 200)  # steps after which memory is read
STATM = pathlib.Path("/proc/self/statm")  # sizes in pages, the second is what lies in memory


def resident() -> int:
    """Bytes of this process that lie in memory, after what nobody holds is gone."""
    gc.collect()
    return int(STATM.read_text("ascii").split()[1]) * resource.getpagesize()


def questions(step: int) -> list[Question]:
    """Two questions about images that no other step has, 1.4 MB each."""
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (2, 672, 672, 3), dtype=np.uint8)
    return [
        Question(f"{step}-{n}", "What number is on the cup?", (image,))
        for n, image in enumerate(images)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not STATM.is_file(), reason="the memory of a process is read from /proc")
def test_host_memory_stays_flat_over_200_steps_with_images():
    eng = tiny.make_engine(size=2, episodes=2)
    seen = []
    for step in range(200):
        groups = engine.collect(eng, eng.policy(tiny.looking_params()), questions(step), 0, step)
        assert sum(len(e.tokens) for g in groups for e in g.episodes)
        del groups
        if step in SETTLED or step in LAST:
            seen.append(resident())
    settled, last = np.mean(seen[: len(SETTLED)]), np.mean(seen[len(SETTLED) :])
    assert last < 1.02 * settled, f"{settled / 2**20:.1f} MiB became {last / 2**20:.1f} MiB"
