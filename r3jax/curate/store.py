"""Images and crops as files of the output, each written whole or not at all."""

import hashlib
import io
import os
import pathlib
import threading

import numpy as np
from PIL import Image

from r3jax.data import images

IMAGES, CROPS = "images", "crops"
_ASIDE = ".partial"
_SUFFIXES = {"JPEG": "jpg", "TIFF": "tif"}  # others are their format's name


def keep_image(source: images.ImageSource, folder: pathlib.Path) -> str:
    """Copies an image that can be opened, as it is encoded, unless it is there; returns its name
    in the folder, which follows from its content."""
    is_stored = isinstance(source, images.StoredImage)
    data = source.stream().read() if is_stored else source.read_bytes()
    with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
        suffix = _SUFFIXES.get(image.format, image.format.lower())
    name = f"{hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
    if not (folder / name).is_file():
        _write(folder / name, data)
    return name


def clear(folder: pathlib.Path) -> None:
    """Removes what a kill has left half written."""
    for path in folder.glob(f"*{_ASIDE}"):
        path.unlink()


def keep_crop(crop: np.ndarray, path: pathlib.Path) -> None:
    """Writes a crop, uint8 [height, width, 3], as PNG, unless it is there."""
    if not path.is_file():
        _write(path, images.to_png(crop))


def _write(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Threads may write the same image at the same time.
    aside = path.with_name(f"{path.name}.{threading.get_ident()}{_ASIDE}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
