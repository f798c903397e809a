"""The size of a WebP image, from its header: Pillow makes room for all pixels as it opens one."""

HEADER_BYTES = 30


def size(head: bytes) -> tuple[int, int] | None:
    """Width and height, from the first HEADER_BYTES of a file; None where it is no WebP.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    if len(head) < HEADER_BYTES or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + _number(head[24:27]), 1 + _number(head[27:30])
    if kind == b"VP8L":
        sides = _number(head[21:25])
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return _number(head[26:28]) & 0x3FFF, _number(head[28:30]) & 0x3FFF
    return None


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
