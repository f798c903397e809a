"""Images inside the cells of tables, which are read when somebody opens them."""

import base64
import binascii
import dataclasses
import io
import re
from collections.abc import Callable
from typing import BinaryIO

from r3jax.data import images

IS_IMAGE = re.compile(r"(decoded_)?image(_\d+)?|bytes")  # columns whose text may be an image
LONGEST_NAME = 1024  # characters of a path: images are longer
_BEGINS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A", "data:image/")
_SHORTEST = 64  # characters of an image: what is shorter is a path, or the number of another row


@dataclasses.dataclass(frozen=True)
class CellImage(images.StoredImage):
    """An image that `fetch` reads: its encoded bytes, or these in base64. `where` names it, and
    `number` it among several of a cell."""

    where: str
    fetch: Callable[[], bytes | str] = dataclasses.field(compare=False, repr=False)
    number: int = 0

    def __str__(self) -> str:
        return self.where

    def stream(self) -> BinaryIO:
        """The encoded image. Raises: ImageError where the text is no base64."""
        found = self.fetch()
        if isinstance(found, bytes):
            return io.BytesIO(found)
        try:
            data = found.partition(",")[2] if found.startswith("data:") else found
            return io.BytesIO(base64.b64decode("".join(data.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise images.damaged(self, error) from error


def is_image(name: str, text: str) -> bool:
    """Whether the text of a column is an image itself, and no name of one."""
    if len(text) <= _SHORTEST or IS_IMAGE.fullmatch(name) is None:
        return False
    return len(text) > LONGEST_NAME or text.lstrip("[ '\"").startswith(_BEGINS)


def several(text: str) -> list[str]:
    """The images of a cell that lists them, as Python writes lists.

    >>> several("['aGk=', 'eW8=']"), several("aGk=")
    (['aGk=', 'eW8='], ['aGk='])
    """
    if not text.startswith("["):
        return [text]
    return [one.strip(" '\"\n") for one in text.strip("[] \n").split(",")]
