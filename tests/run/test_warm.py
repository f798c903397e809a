"""Before the first step: all programs are compiled, and images that fit no bucket are refused."""

import dataclasses

import pytest
from PIL import ExifTags, Image

from r3jax import buckets
from r3jax.compiles import CompileCounter
from r3jax.data import image_sizes
from r3jax.rollout import crops, engine
from r3jax.run import warm
from tests import tiny


@pytest.mark.slow
def test_groups_that_come_and_go_compile_nothing_after_the_warm_up():
    one = (buckets.ImageBucket(1, 1, 64),)
    shapes = dataclasses.replace(
        tiny.BUCKETS, prompt_tokens=(36, 72), images=one, originals=(336, 336)
    )
    eng = tiny.make_engine(size=2, shapes=shapes, exchange=1, patience=1)
    eng = dataclasses.replace(eng, way=crops.Way.XLA)  # it cuts looks on the device as well
    questions = tiny.questions()
    questions[3] = dataclasses.replace(questions[3], text="what is there? " * 3)
    policy = eng.policy(tiny.looking_params())
    warm.rollout_programs(eng, policy, warm.compile_for)
    with CompileCounter() as compiles:
        engine.collect(eng, policy, questions, seed=3, step=7)
    assert compiles.count == 0


def test_images_that_are_encoded_together_need_a_bucket_for_as_many(tmp_path):
    shown = [tmp_path / f"{number}.png" for number in range(3)]
    for path in shown:
        Image.fromarray(tiny.image(0)).save(path)
    two = dataclasses.replace(tiny.BUCKETS, images=(buckets.ImageBucket(2, 1, 64),))
    sizes = image_sizes.read_sizes(shown).values()
    warm.check_images(two, tiny.FORM, 2, sizes)
    with pytest.raises(ValueError, match=r"buckets\.images: a batch can have 3 images"):
        warm.check_images(two, tiny.FORM, 3, sizes)


def test_originals_have_room_for_the_largest_image_as_it_is_turned(tmp_path):
    shown = [tmp_path / name for name in ("a.png", "b.jpg")]
    Image.fromarray(tiny.image(0)[:100, :60]).save(shown[0])
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(tiny.image(0)[:50, :200]).save(shown[1], exif=turned)
    (tmp_path / "no_image.png").write_text("no image")
    sizes = list(image_sizes.read_sizes([*shown, tmp_path / "no_image.png"]).values())
    assert warm.with_originals(tiny.BUCKETS, crops.Way.HOST, sizes) == tiny.BUCKETS
    found = warm.with_originals(tiny.BUCKETS, crops.Way.XLA, sizes)
    assert found.originals == (200, 60)
    assert warm.with_originals(found, crops.Way.XLA, sizes[:1]) == found
    small = dataclasses.replace(tiny.BUCKETS, originals=(150, 60))
    with pytest.raises(ValueError, match=r"up to 200 x 60 pixels .* found room for 150 x 60"):
        warm.with_originals(small, crops.Way.XLA, sizes)
