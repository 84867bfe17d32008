"""How the C library keeps memory that was given back: in few heaps, which all threads share."""

from __future__ import annotations

import ctypes
import sys

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Heaps of all threads together: one would have the event loop wait for a thread that was put aside while it held it.
HEAPS = 2
#: What is larger goes back to the system at once, and so does as much at a heap's end, bytes: more than a model takes
#: at a time, for whatever comes from the system is cleared first.
LARGE_BYTES = 8 * 2**20


def _libc() -> ctypes.CDLL | None:
    """Return glibc, None where the C library is another."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def share_heaps() -> bool:
    """Have threads share heaps; return whether the C library can be told so (glibc can).

    A model takes some MB for each run, and frees them. glibc gives each thread a heap of its own, which keeps what was
    freed in it: of a worker's 477 MiB, 175 were such. It is to be called before there are threads.
    """
    libc = _libc()
    wanted = ((_ARENA_MAX, HEAPS), (_MMAP_THRESHOLD, LARGE_BYTES), (_TRIM_THRESHOLD, LARGE_BYTES))
    return libc is not None and all(libc.mallopt(option, value) == 1 for option, value in wanted)


def give_back() -> None:
    """Give back to the system what is free in heaps: worth some ms where much was freed for good."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)
