"""A volume that is full, for who writes files by `Path.write_bytes`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path


def filling(room: int) -> Callable[[Path, bytes], int]:
    """Return what writes so many files, and of the next the half that a full volume takes."""
    write, written = Path.write_bytes, iter(range(room))

    def until_full(path: Path, content: bytes) -> int:
        if next(written, None) is not None:
            return write(path, content)
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return until_full
