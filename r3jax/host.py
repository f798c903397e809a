"""The memory of the host process: freed blocks are kept, not handed back to the system.

XLA on CPU allocates the temporaries of every call anew. The C library maps each large one, the
kernel fills it with zeros page by page, and at its end all pages are given back: half of the time
of a small model's step. Kept blocks are used again as they are.
"""

import ctypes
import sys

# Numbers of mallopt's settings in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory; returns whether it could (glibc alone knows how).

    Costs the peak of what was ever in use at once. Programs call it first; a library never should.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # All threads share the main arena: one of their own maps every block above 64 MB.
    settings = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0, _ARENA_MAX: 1}
    return all(libc.mallopt(name, value) for name, value in settings.items())
