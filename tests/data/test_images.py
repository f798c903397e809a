"""Images: the pixels of Transformers, and a clear error for every file that cannot be used."""

import hashlib
import io
import pathlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from r3jax import patches
from r3jax.data import frames, images
from r3jax.data.images import ImageError, ImageFault

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "data" / "processor.npz")
SIZES = sorted({name.split("/")[0] for name in GOLDEN.files if name.endswith("/min_max")})
QWEN_BOUNDS = frames.PixelBounds(3136, 12845056)


def patches_digest(resized: np.ndarray) -> str:
    return hashlib.sha256(patches.patchify(resized).astype("<f4").tobytes()).hexdigest()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("name", SIZES)
def test_pixels_and_patches_equal_transformers_bit_for_bit(name):
    # Transformers 5.23.0 with Pillow 12.3.0; patches are compared by their SHA-256.
    bounds = frames.PixelBounds(*GOLDEN[f"{name}/min_max"].tolist())
    resized = images.prepare(GOLDEN[f"{name}/image"], bounds)
    assert patches_digest(resized) == str(GOLDEN[f"{name}/patches_sha256"])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA"])
def test_every_mode_equals_transformers_after_a_trip_through_a_png(mode, tmp_path):
    picture = Image.fromarray(GOLDEN[f"mode{mode}/raw"])
    picture.save(tmp_path / "image.png")
    resized = images.prepare(images.open_image(tmp_path / "image.png"), QWEN_BOUNDS)
    assert patches_digest(resized) == str(GOLDEN[f"mode{mode}/patches_sha256"])


@pytest.mark.oracle
@pytest.mark.parametrize("size", [(300, 500), (31, 47)])
def test_live_processor_agrees(size):
    transformers = pytest.importorskip("transformers")
    # Both sides shrink or both grow: there all versions of Pillow resize in the same order.
    processor = transformers.Qwen2VLImageProcessor(min_pixels=3136, max_pixels=50000)
    image = noise(*size)
    expected = processor(images=[image], return_tensors="np", input_data_format="channels_last")
    ours = patches.patchify(images.prepare(image, frames.PixelBounds(3136, 50000)))
    np.testing.assert_array_equal(ours, expected["pixel_values"])


def test_resize_makes_one_pass_an_axis_width_first():
    image = noise(40, 30)
    by_hand = Image.fromarray(image).resize((56, 40), images.LANCZOS)
    by_hand = by_hand.resize((56, 28), images.LANCZOS)
    np.testing.assert_array_equal(images.resize(image, 28, 56, images.LANCZOS), by_hand)


def test_a_crop_shows_the_planned_region():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:40, 60:80] = 200
    crop = images.cut_crop(image, frames.CropPlan((60, 20, 80, 40), 2.0, 56, 56))
    assert crop.shape == (56, 56, 3) and (crop == 200).all()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    picture = Image.fromarray(noise(8, 20))
    picture.save(tmp_path / "turned.png", exif=exif)
    expected = np.rot90(noise(8, 20), k=-1)
    np.testing.assert_array_equal(images.open_image(tmp_path / "turned.png"), expected)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    grey = images.open_image(tmp_path / "deep.png")[0, :, 0]
    assert grey.tolist() == [0, 1, 128, 255]


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tiff")
    assert fault_of(tmp_path / "f.tiff") is ImageFault.MODE


def test_grey_beyond_16_bits_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 65536, np.int32)).save(tmp_path / "i.tiff")
    with pytest.raises(ImageError, match=r"grey values in 0\.\.65535, found 65536\.\.65536"):
        images.open_image(tmp_path / "i.tiff")


def fault_of(path, **arguments) -> ImageFault:
    with pytest.raises(ImageError) as caught:
        images.open_image(path, **arguments)
    shown = str(caught.value)
    assert pathlib.Path(path).name in shown and "expected" in shown and "found" in shown
    return caught.value.fault


def test_missing_foreign_and_truncated_files_say_what_to_do(tmp_path):
    with pytest.raises(ImageError, match=r"a\.png: expected a file, found none at .*; check path"):
        images.open_image("a.png", root=tmp_path)
    (tmp_path / "text.png").write_text("no image")
    assert fault_of(tmp_path / "text.png") is ImageFault.NOT_AN_IMAGE
    assert fault_of(tmp_path) is ImageFault.UNREADABLE
    whole = io.BytesIO()
    Image.fromarray(noise(200, 200)).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:5000])
    with pytest.raises(ImageError, match=r"cut\.jpg: expected a whole image, found OSError.*trunc"):
        images.open_image(tmp_path / "cut.jpg")


def test_large_images_are_refused_before_decoding(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")  # small file, 400 megapixels
    assert fault_of(tmp_path / "bomb.png") is ImageFault.TOO_LARGE
    Image.new("1", (100, 100)).save(tmp_path / "small.png")
    with pytest.raises(ImageError, match="at most 9999 pixels, found 100 x 100 pixels"):
        images.open_image(tmp_path / "small.png", max_pixels=9999)


def test_no_path_leads_out_of_the_data_folder(tmp_path):
    root = tmp_path / "data"
    (root / "inner").mkdir(parents=True)
    Image.fromarray(noise(4, 4)).save(tmp_path / "secret.png")
    Image.fromarray(noise(4, 4)).save(root / "ours.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.png").symlink_to(root / "loop.png")
    for path in ["../secret.png", "link.png", "up/secret.png", str(tmp_path / "secret.png")]:
        assert fault_of(path, root=root) is ImageFault.OUTSIDE_ROOT
    for path in ["inner/../ours.png", str(root / "ours.png")]:
        assert images.open_image(path, root=root).shape == (4, 4, 3)
    with pytest.raises(ImageError, match="a usable path"):
        images.open_image("a\0b.png", root=root)
    with pytest.raises(ImageError):
        images.open_image("loop.png", root=root)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_image_or_a_typed_error(kind, tmp_path, data):
    buffer = io.BytesIO()
    Image.fromarray(noise(24, 24)).save(buffer, kind)
    damaged = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        assert images.open_image(tmp_path / "damaged").shape[2] == 3
    except ImageError as error:
        assert "damaged" in str(error)
