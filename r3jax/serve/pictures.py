"""The images of a request: from a URL to pixels, whatever stands there."""

import base64
import binascii
import dataclasses
import io
import pathlib
import re
import urllib.parse
from collections.abc import Mapping

import numpy as np

from r3jax.data import images, webp
from r3jax.serve.errors import RequestError

_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):|)")


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where images may come from, beside the request itself: files below a folder, and the web. A
    request's images have at most so many pixels together."""

    files: pathlib.Path | None = None
    remote: bool = False
    max_pixels: int = 2**24


@dataclasses.dataclass(frozen=True)
class Sent:
    """An image that came with a request, or was fetched for it (an `images.StoredImage`)."""

    data: bytes
    place: str

    def stream(self) -> io.BytesIO:
        """Its bytes, as an image file holds them."""
        return io.BytesIO(self.data)

    def __str__(self) -> str:
        return self.place


def is_remote(url: str) -> bool:
    """Whether an image is to be fetched from somewhere else."""
    return url.lower().startswith(("http://", "https://"))


def open_all(
    urls: tuple[str, ...],
    places: tuple[str, ...],
    sources: Sources,
    fetched: Mapping[str, bytes],
) -> tuple[np.ndarray, ...]:
    """Opens images, uint8 [height, width, 3] each; `fetched` has the bytes of those of the web.

    Raises: RequestError (400) that says which cannot be used, and why.
    """
    opened, left = [], sources.max_pixels
    for url, place in zip(urls, places, strict=True):
        try:
            opened.append(_open(url, place, sources, fetched, left))
        except images.ImageError as error:
            raise RequestError(400, str(error), place, f"image_{error.fault.value}") from error
        left -= opened[-1].shape[0] * opened[-1].shape[1]
    return tuple(opened)


def _open(
    url: str, place: str, sources: Sources, fetched: Mapping[str, bytes], max_pixels: int
) -> np.ndarray:
    if url in fetched:
        return _open_sent(Sent(fetched[url], place), max_pixels)
    if url[:5].lower() == "data:":
        return _open_sent(Sent(_decode(url, place), place), max_pixels)
    scheme = (_SCHEME.match(url)[1] or "").lower()
    if scheme not in ("", "file"):
        raise RequestError(
            400,
            f"{place}: images come as data URLs (data:image/png;base64,...), found one of the "
            f"scheme {scheme[:20]!r}",
            place,
            "unsupported_url",
        )
    if sources.files is None:
        raise RequestError(
            400,
            f"{place}: files of this machine are not read: send the image as a data URL "
            "(data:image/png;base64,...), or start the server with --files=FOLDER",
            place,
            "files_refused",
        )
    path = urllib.parse.unquote(url[5:].removeprefix("//")) if scheme else url
    return images.open_image(pathlib.Path(path), sources.files, max_pixels)


def _open_sent(sent: Sent, max_pixels: int) -> np.ndarray:
    """Opens an image whose size is known before there is room made for it."""
    found = webp.size(sent.data[: webp.HEADER_BYTES])
    if found is not None and found[0] * found[1] > max_pixels:
        raise images.ImageError(
            sent.place,
            images.ImageFault.TOO_LARGE,
            f"at most {max_pixels} pixels",
            f"{found[0]} x {found[1]} pixels",
            "shrink it",
        )
    return images.open_image(sent, max_pixels=max_pixels)


def _decode(url: str, place: str) -> bytes:
    """The bytes of a data URL; its type is not believed, images say themselves what they are."""
    head, comma, payload = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise RequestError(
            400, f"{place}: expected data:image/png;base64,..., found {head[:40]!r}", place
        )
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            400, f"{place}: the image is no whole base64: {error}", place, "invalid_base64"
        ) from error
