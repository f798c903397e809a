"""Opening image files safely and resizing them the same way under every version of Pillow."""

import dataclasses
import enum
import io
import os
import pathlib
import struct
import zlib
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageOps

from r3jax import paths
from r3jax.data import frames, webp
from r3jax.records import Region

MAX_PIXELS = 2**26  # 67 megapixels, 192 MiB as RGB: above any camera or scan in the training sets
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
BICUBIC = Image.Resampling.BICUBIC
LANCZOS = Image.Resampling.LANCZOS

# Everything that Pillow's decoders are known to raise on damaged bytes.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class ImageFault(enum.StrEnum):
    """Why an image could not be used."""

    OUTSIDE_ROOT = "outside_root"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    NOT_AN_IMAGE = "not_an_image"
    TOO_LARGE = "too_large"
    DAMAGED = "damaged"
    MODE = "mode"


@dataclasses.dataclass
class ImageError(ValueError):
    """An image file that cannot be used: which file, what was expected, what was found."""

    path: str
    fault: ImageFault
    expected: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"image {self.path}: expected {self.expected}, found {self.found}; {self.advice}"


@runtime_checkable
class StoredImage(Protocol):
    """An image inside a larger file; `str()` names it in errors."""

    def stream(self) -> BinaryIO:
        """Its encoded bytes, as an image file holds them."""


ImageSource = pathlib.Path | StoredImage


def locate(path: str | pathlib.Path, root: str | pathlib.Path | None = None) -> pathlib.Path:
    """The real path of a file, which with `root` must lie inside that folder.

    Links and `..` are followed before the check, so neither leads out. A relative path is taken
    from `root`. ImageError (OUTSIDE_ROOT) otherwise; the file need not exist.
    """
    if paths.in_bucket(path) or (root is not None and paths.in_bucket(root)):
        return _locate_in_bucket(str(path), root)
    try:
        if root is None:
            return pathlib.Path(path).resolve()
        base = pathlib.Path(root).resolve()
        real = (base / path).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # NUL bytes, loops of links
        shown = repr(str(path))
        raise ImageError(
            shown, ImageFault.OUTSIDE_ROOT, "a usable path", str(error), "correct the path"
        ) from error
    if not real.is_relative_to(base):
        raise _outside(path, base, real)
    return real


def _locate_in_bucket(path: str, root: str | pathlib.Path | None) -> pathlib.Path:
    """There are no links in buckets; a path without a bucket is taken from `root`."""
    base = None if root is None else paths.of(root)
    real = paths.of(path) if base is None or paths.in_bucket(path) else base / path
    if ".." in real.parts or (base is not None and not real.is_relative_to(base)):
        raise _outside(path, base or "a bucket", real)
    return real


def _outside(path: str | pathlib.Path, base: object, real: pathlib.Path) -> ImageError:
    return ImageError(
        str(path),
        ImageFault.OUTSIDE_ROOT,
        f"a file inside {base}",
        f"{real}, which lies outside",
        "move the file into the data folder or name another folder",
    )


def open_image(
    path: str | ImageSource,
    root: str | pathlib.Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read an image as RGB, uint8 [height, width, 3], turned as its EXIF tag says.

    Transparent parts become white, 16-bit grey becomes 8-bit. The size is checked before any pixel
    is decoded. ImageError where a file is missing, damaged, too large, no image, or outside `root`.
    """
    file = path.stream() if isinstance(path, StoredImage) else locate(path, root)
    try:
        readable = _readable(file)
        if (found := _size_of_webp(readable)) and found[0] * found[1] > max_pixels:
            raise _too_large(path, f"{found[0]} x {found[1]} pixels", max_pixels)
        image = Image.open(readable, formats=FORMATS)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(
            str(path), ImageFault.MISSING, "a file", f"none at {file}", "check path and folder"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error), max_pixels) from error
    except Image.UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise ImageError(
            str(path), ImageFault.NOT_AN_IMAGE, f"one of {kinds}", "none of them", "convert it"
        ) from error
    except (PermissionError, IsADirectoryError) as error:
        raise ImageError(
            str(path), ImageFault.UNREADABLE, "a readable file", str(error), "check the file"
        ) from error
    except DECODE_ERRORS as error:
        raise damaged(path, error) from error
    with image:
        if image.width * image.height > max_pixels:
            raise _too_large(path, f"{image.width} x {image.height} pixels", max_pixels)
        try:
            image.load()
            return np.asarray(to_rgb(ImageOps.exif_transpose(image), str(path)))
        except ImageError:
            raise
        except DECODE_ERRORS as error:
            raise damaged(path, error) from error


def _readable(file: pathlib.Path | BinaryIO) -> pathlib.Path | BinaryIO:
    """What Pillow can open: of a file in a bucket, its bytes."""
    in_bucket = isinstance(file, os.PathLike) and paths.in_bucket(file)
    return io.BytesIO(file.read_bytes()) if in_bucket else file


def _size_of_webp(file: pathlib.Path | BinaryIO) -> tuple[int, int] | None:
    """Width and height of a WebP, for which Pillow makes room as it opens it; None for others."""
    if isinstance(file, os.PathLike):
        with open(file, "rb") as opened:
            return webp.size(opened.read(webp.HEADER_BYTES))
    head = file.read(webp.HEADER_BYTES)
    file.seek(0)
    return webp.size(head)


def _too_large(path: str | ImageSource, found: str, max_pixels: int) -> ImageError:
    return ImageError(
        str(path),
        ImageFault.TOO_LARGE,
        f"at most {max_pixels} pixels",
        found,
        "shrink it or raise max_pixels",
    )


def damaged(path: str | ImageSource, error: Exception) -> ImageError:
    return ImageError(
        str(path),
        ImageFault.DAMAGED,
        "a whole image",
        f"{type(error).__name__}: {error}",
        "fetch the file again or leave it out",
    )


def to_rgb(image: Image.Image, path: str = "(in memory)") -> Image.Image:
    """Any image as RGB: alpha composited on white, 16-bit grey scaled to 8 bits.

    Source: Transformers 5, which composites; Transformers 4 drops the alpha channel.
    """
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray(_grey16_to_8(np.asarray(image), path)).convert("RGB")
    if image.mode == "F":
        raise ImageError(
            path,
            ImageFault.MODE,
            "8-bit or 16-bit pixels",
            "mode F (floating point, range unknown)",
            "convert it to 8 bits",
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey16_to_8(pixels: np.ndarray, path: str) -> np.ndarray:
    """Grey of 0..65535 as 0..255; Pillow's own conversion clips at 255 instead of scaling."""
    wide = pixels.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ImageError(
            path,
            ImageFault.MODE,
            "grey values in 0..65535",
            f"{wide.min()}..{wide.max()}",
            "convert it to 8 bits",
        )
    return ((wide + 128) // 257).astype(np.uint8)


def resize(image: np.ndarray, height: int, width: int, resampling: Image.Resampling) -> np.ndarray:
    """Resize uint8 [h, w, 3] to [height, width, 3] in two passes: the width, then the height.

    One call to Pillow orders the passes by version (13.0 changed it) and so moves pixels by up to
    26 grey levels; two calls give the same bits under all of them.
    """
    picture = Image.fromarray(image)
    if picture.width != width:
        picture = picture.resize((width, picture.height), resampling)
    if picture.height != height:
        picture = picture.resize((width, height), resampling)
    return np.asarray(picture)


def prepare(image: np.ndarray, bounds: frames.PixelBounds) -> np.ndarray:
    """An image at the size that the model sees, uint8, resized as Qwen2.5-VL's processor does."""
    height, width = frames.smart_resize(image.shape[0], image.shape[1], bounds)
    return resize(image, height, width, BICUBIC)


def to_png(image: np.ndarray) -> bytes:
    """An image, uint8 [height, width, 3], as a PNG file: quickly, not as small as it could be."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def cut_crop(image: np.ndarray, plan: frames.CropPlan | Region) -> np.ndarray:
    """The planned region of the original, uint8 [plan.height, plan.width, 3], by LANCZOS."""
    x1, y1, x2, y2 = plan.box
    region = np.ascontiguousarray(image[y1:y2, x1:x2])
    return resize(region, plan.height, plan.width, LANCZOS)
