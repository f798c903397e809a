"""How large images are, by their headers."""

import io
import pathlib
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from PIL import ExifTags, Image

from r3jax import paths
from r3jax.data.images import DECODE_ERRORS, FORMATS, ImageError, ImageSource, StoredImage, damaged

HEADER_BYTES = 2**16  # of a file in a bucket, where its size most likely stands
READERS = 32  # threads that read headers: most of the time they wait

_PNG_SIGNATURE, _CHECKSUM = 8, 4  # bytes
_TELLING = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


def read_size(source: ImageSource) -> tuple[int, int]:
    """Height and width of the image as it is opened; ImageError where its header says nothing."""
    if isinstance(source, StoredImage):
        return _size(source, source.stream())
    if not paths.in_bucket(source):
        return _size(source, source)
    try:
        return _size(source, io.BytesIO(paths.head(source, HEADER_BYTES)))
    except ImageError:  # a long header
        return _size(source, io.BytesIO(source.read_bytes()))


def read_sizes(sources: Iterable[ImageSource]) -> dict[ImageSource, tuple[int, int]]:
    """The sizes of images, of those whose headers say one; many are read at a time."""

    def size(source: ImageSource) -> tuple[int, int] | None:
        try:
            return read_size(source)
        except ImageError:
            return None  # whoever opens it says what is wrong with it, and in which row

    distinct = list(dict.fromkeys(sources))
    with ThreadPoolExecutor(READERS) as pool:
        return {one: found for one, found in zip(distinct, pool.map(size, distinct)) if found}


def _size(source: ImageSource, file: pathlib.Path | BinaryIO) -> tuple[int, int]:
    try:
        with Image.open(file, formats=FORMATS) as image:
            turned = _exif(image).get(ExifTags.Base.Orientation) in _TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise damaged(source, error) from error


def _exif(image: Image.Image) -> Image.Exif:
    """What an image says of itself; a PNG is not decoded for it, as Pillow does to see what stands
    behind the pixels, where nothing does."""
    if image.format != "PNG" or "exif" in image.info or _says_more(image.fp):
        return image.getexif()
    return Image.Image.getexif(image)


def _says_more(png: BinaryIO) -> bool:
    """Whether a PNG has a chunk behind its pixels that may hold EXIF, or is not whole."""
    png.seek(_PNG_SIGNATURE)
    is_behind = False
    while len(head := png.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return False
        is_behind |= kind == b"IDAT"
        if is_behind and kind in _TELLING:
            return True
        png.seek(length + _CHECKSUM, io.SEEK_CUR)
    return True
