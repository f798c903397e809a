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

from r3jax.data import images
from r3jax.serve.errors import RequestError

MOST_SCANS = 48  # of a JPEG, each of which goes over all pixels; usual ones have a dozen
_SCAN = b"\xff\xda"
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
    return _open_file(url, place, sources.files, max_pixels)


def _open_sent(sent: Sent, max_pixels: int) -> np.ndarray:
    """Opens an image that no more is to be done for than its pixels ask."""
    if sent.data[:2] == b"\xff\xd8" and (scans := sent.data.count(_SCAN)) > MOST_SCANS:
        raise images.ImageError(
            sent.place,
            images.ImageFault.DAMAGED,
            f"a JPEG of at most {MOST_SCANS} scans",
            f"one of {scans}",
            "save it again",
        )
    return images.open_image(sent, max_pixels=max_pixels)


def _open_file(url: str, place: str, folder: pathlib.Path, max_pixels: int) -> np.ndarray:
    """Opens a file below a folder; what is not is told without saying what is there."""
    path = pathlib.Path(_path_in(url, place) if url[:5].lower() == "file:" else url)
    fault = images.ImageFault.MISSING
    try:
        real = images.locate(path, folder)
        if real.is_file():
            return _open_sent(Sent(real.read_bytes(), place), max_pixels)
    except images.ImageError as error:
        fault = error.fault
    except (OSError, ValueError):
        pass
    raise RequestError(
        400,
        f"{place}: no image of that name can be opened below the folder of this server",
        place,
        f"image_{fault.value}",
    )


def _path_in(url: str, place: str) -> str:
    """The path that a file:// URL names, on this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise RequestError(400, f"{place}: {url[:40]!r} is no URL", place) from error
    if parts.netloc not in ("", "localhost"):
        host = parts.netloc[:40]
        raise RequestError(400, f"{place}: files of {host!r} are not read", place, "other_host")
    return urllib.parse.unquote(parts.path)


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
