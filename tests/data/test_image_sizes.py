"""Sizes by headers are those of the opened image, and no pixel is decoded for them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from r3jax.data import image_sizes, images

HEIGHT, WIDTH = 30, 40
TURNED = Image.Exif()
TURNED[0x0112] = 6  # rotate by 90 degrees to show


def encoded(kind: str, **options) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append(png[at : at + length + 12])
        at += length + 12
    return found


def exif_behind_the_pixels() -> bytes:
    parts = chunks(encoded("PNG", exif=TURNED))
    late = [part for part in parts if part[4:8] == b"eXIf"]
    others = [part for part in parts if part[4:8] != b"eXIf"]
    assert len(late) == 1
    return b"\x89PNG\r\n\x1a\n" + b"".join([*others[:-1], *late, others[-1]])


FILES = {
    "plain.png": encoded("PNG"),
    "turned.png": encoded("PNG", exif=TURNED),
    "turned_late.png": exif_behind_the_pixels(),
    "plain.jpg": encoded("JPEG"),
    "turned.jpg": encoded("JPEG", exif=TURNED),
    "turned.webp": encoded("WEBP", exif=TURNED),
}


@pytest.mark.parametrize("name", FILES)
def test_a_size_is_that_of_the_opened_image(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    expected = (WIDTH, HEIGHT) if "turned" in name else (HEIGHT, WIDTH)
    assert image_sizes.read_size(path) == images.open_image(path).shape[:2] == expected


def test_a_png_is_not_decoded_for_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    for name in ("plain.png", "turned.png"):
        (tmp_path / name).write_bytes(FILES[name])
        assert sorted(image_sizes.read_size(tmp_path / name)) == [HEIGHT, WIDTH]


def test_a_png_that_is_cut_off_has_no_size(tmp_path):
    (tmp_path / "cut.png").write_bytes(FILES["plain.png"][:200])
    with pytest.raises(images.ImageError, match="expected a whole image"):
        image_sizes.read_size(tmp_path / "cut.png")
