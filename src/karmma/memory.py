"""How the C library hands memory back to the system."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc keep what a training step frees, up to a GiB, for the next one; returns whether this C library can.

    By default large blocks go back to the system at once, and every step pays for fresh, zeroed pages, which takes time
    from training on CPUs and more of it from fitting random kernels. All threads share one pool, since the others keep nothing
    larger than 64 MiB.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        adjust = library.mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: 1}
    return all(adjust(name, value) for name, value in settings.items())
