"""Before the first step: all programs are compiled, and images that fit no bucket are refused."""

import dataclasses

import pytest
from PIL import Image

from r3jax import buckets
from r3jax.compiles import CompileCounter
from r3jax.rollout import engine
from r3jax.run import warm
from tests import tiny


@pytest.mark.slow
def test_groups_that_come_and_go_compile_nothing_after_the_warm_up():
    one = (buckets.ImageBucket(1, 1, 64),)
    shapes = dataclasses.replace(tiny.BUCKETS, prompt_tokens=(36, 72), images=one)
    eng = tiny.make_engine(size=2, shapes=shapes, exchange=1, patience=1)
    questions = tiny.questions()
    questions[3] = dataclasses.replace(questions[3], text="what is there? " * 3)
    warm.compile_rollout(eng, tiny.looking_params())
    with CompileCounter() as compiles:
        engine.collect(eng, tiny.looking_params(), questions, seed=3, step=7)
    assert compiles.count == 0


def test_images_that_are_encoded_together_need_a_bucket_for_as_many(tmp_path):
    shown = [tmp_path / f"{number}.png" for number in range(3)]
    for path in shown:
        Image.fromarray(tiny.image(0)).save(path)
    two = dataclasses.replace(tiny.BUCKETS, images=(buckets.ImageBucket(2, 1, 64),))
    warm.check_images(two, tiny.FORM, 2, shown)
    with pytest.raises(ValueError, match=r"buckets\.images: a batch can have 3 images"):
        warm.check_images(two, tiny.FORM, 3, shown)
