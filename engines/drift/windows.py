"""What detectors share that hold windows of recent values against a reference of those before them."""

from __future__ import annotations

REFERENCE = 1024  # values of a reference, at most
RECENT = 256  # values that are under suspicion
STEP = 32  # values that go from the recent ones to the reference at once
WIDTHS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)
LAGS = 16  # the last one of the autocovariances; none is counted from the first on that chance would make as large


def require(data: bytes, magic: bytes, what: str) -> None:
    """Raise a ValueError unless bytes begin as the packed state of ``what`` does."""
    if data[: len(magic)] != magic:
        raise ValueError(f"{what}: expected bytes that begin with {magic!r}, found {data[: len(magic)]!r}")
