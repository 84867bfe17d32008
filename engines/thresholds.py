"""Thresholds that were learnt, as a file: what they are, and what they were learnt from."""

from __future__ import annotations

import msgspec

from engines.bundle import Source
from engines.typologies.pump_and_dump import PumpConfig


class PumpFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of pump_and_dump, and their ``source``, whose window says which times they may know of."""

    thresholds: PumpConfig
    source: Source


def read_pump(content: bytes) -> PumpFile:
    """Return what a file of thresholds holds.

    Raises
    ------
    ValueError
        It is no such file, or a threshold or a time in it is not positive.
    """
    found = msgspec.json.decode(content, type=PumpFile)
    for name in found.thresholds.__struct_fields__:
        if not 0 < (value := getattr(found.thresholds, name)) < float("inf"):
            raise ValueError(f"{name}: expected a number above 0, found {value}")
    return found


def write_pump(file: PumpFile) -> bytes:
    """Return the bytes of a file of thresholds."""
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"
