"""Copies of an image are near whatever was done to the file; other images are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from r3jax.curate import collecting, duplicates
from r3jax.curate.duplicates import Known, Print
from r3jax.curate.samples import Sample
from r3jax.data import images
from r3jax.data.world import generate


def picture(index: int) -> np.ndarray:
    return generate.sample(seed=1, index=index, split="train").image


def compressed(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


CHANGES = {
    "another size": lambda image: images.resize(image, 200, 260, images.BICUBIC),
    "compression": compressed,
    "brightness": lambda image: np.clip(image * 0.8 + 10, 0, 255).astype(np.uint8),
}


def known(*pictures) -> Known:
    found = Known()
    for number, image in enumerate(pictures):
        found.add(Print(str(number), duplicates.hash_image(image), ""))
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_like_its_original_and_like_no_other(change):
    pictures = [picture(4 * number) for number in range(12)]
    index = known(*pictures)
    for number, image in enumerate(pictures):
        copy = Print("copy", duplicates.hash_image(CHANGES[change](image)), "")
        assert [one.name for one in index.like(copy)] == [str(number)]


def page(seed: int) -> np.ndarray:
    """A white page with three short lines of print."""
    rng, image = np.random.default_rng(seed), Image.new("RGB", (620, 877), "white")
    for _ in range(3):
        place, width = rng.integers((30, 30), (350, 840)), int(rng.integers(60, 240))
        marks = Image.fromarray(rng.choice(np.array([0, 255], np.uint8), (12, width)))
        ImageDraw.Draw(image).bitmap(tuple(map(int, place)), marks, fill="black")
    return np.asarray(image)


def test_pages_with_a_few_lines_are_like_their_copies_alone():
    pages = [page(seed) for seed in range(12)]
    index = known(*pages)
    for number, image in enumerate(pages):
        copy = Print("copy", duplicates.hash_image(compressed(image)), "")
        assert [one.name for one in index.like(copy)] == [str(number)]


def test_an_index_of_any_length_finds_what_comparing_one_by_one_finds():
    rng = np.random.default_rng(0)
    prints = [Print(str(n), rng.bytes(64).hex(), "") for n in range(300)]
    flipped = np.frombuffer(bytes.fromhex(prints[200].image), np.uint8).copy()
    flipped[: duplicates.NEAR] ^= 1
    index = Known()
    for one in prints:
        index.add(one)
    near = Print("near", flipped.tobytes().hex(), "")
    assert index.like(near) == [prints[200]]
    flipped[duplicates.NEAR] ^= 1
    assert index.like(Print("far", flipped.tobytes().hex(), "")) == []
    assert Known().like(near) == []


def sample(name: str, image: np.ndarray, question: str) -> Sample:
    return Sample(
        name, name, "gqa", name, question, ("yes",), "a.png", duplicates.hash_image(image)
    )


def test_the_same_question_about_the_same_picture_is_kept_once():
    one, other = picture(0), picture(4)
    asked = [
        sample("a", one, "What is the number?"),
        sample("b", compressed(one), "what is number"),
        sample("c", one, "What colour is it?"),
        sample("d", other, "What is the number?"),
        sample("a", other, "Is the name taken?"),
    ]
    kept, reasons = Known(), []
    for decision in collecting.without_repeats(asked, kept, Known()):
        collecting.remember(decision, kept)
        reasons.append((decision.reason, decision.told))
    assert reasons == [("", ""), ("near duplicate", "a"), ("", ""), ("", ""), ("name twice", "a")]
