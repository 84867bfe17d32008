"""Recordings made unsound, as a disk or a copy might."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from monitor.recording_format import COLUMNS

_VALUE = COLUMNS.get_field_index("value") + 1  # among a file's leaves: the map of headers takes two


def damage_group(file: Path, group: int) -> None:
    """Change a byte in the values of a row group."""
    at = pq.read_metadata(file).row_group(group).column(_VALUE).data_page_offset
    content = bytearray(file.read_bytes())
    content[at + 200] ^= 0xFF
    file.write_bytes(content)
