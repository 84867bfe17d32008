"""Frames: many ticks of one instrument in columns, on the wire as one Arrow IPC stream.

| column | type | unit | filled for |
|---|---|---|---|
| ts_event, ts_available | int64 | ns UTC | all |
| kind | uint8 | `Kind` | all |
| side | int8 | +1 buy (bid), -1 sell (ask), 0 unknown | trade, book |
| price, size | float64 | quote currency, units | trade, correction, cancel, book |
| bid, ask, bid_size, ask_size | float64 | quote currency, units | quote; a correction keeps the original in bid, bid_size |
| trade_id | int64 | the venue's number, or a 63-bit hash of its text; 0 none | trade, correction, cancel |
| source_offset | int64 | offset on tocsin.ticks, -1 none | all |

The schema's metadata holds the instrument and the version. Rows stand in order of arrival.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

VERSION = b"1"


class Kind(enum.IntEnum):
    """What a row of a frame is."""

    TRADE = 0
    QUOTE = 1
    BOOK = 2
    CORRECTION = 3
    CANCEL = 4
    HALT = 5
    RESUME = 6


FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("ts_event", pa.int64()),
    ("ts_available", pa.int64()),
    ("kind", pa.uint8()),
    ("side", pa.int8()),
    ("price", pa.float64()),
    ("size", pa.float64()),
    ("bid", pa.float64()),
    ("ask", pa.float64()),
    ("bid_size", pa.float64()),
    ("ask_size", pa.float64()),
    ("trade_id", pa.int64()),
    ("source_offset", pa.int64()),
)
DTYPES: dict[str, npt.DTypeLike] = {name: kind.to_pandas_dtype() for name, kind in FIELDS}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Ticks of one instrument, rows in order of arrival; every column is an array of shape (n,)."""

    instrument: str
    ts_event: npt.NDArray[np.int64]
    ts_available: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    side: npt.NDArray[np.int8]
    price: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]
    bid_size: npt.NDArray[np.float64]
    ask_size: npt.NDArray[np.float64]
    trade_id: npt.NDArray[np.int64]
    source_offset: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts_event)

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> Frame:
        """Return the frame of the rows picked by a slice, a mask or an index array."""
        return Frame(self.instrument, *(getattr(self, name)[rows] for name in DTYPES))


def frame_of(instrument: str, columns: Mapping[str, npt.ArrayLike]) -> Frame:
    """Return a frame of the given columns; prices and sizes left out are NaN, the rest 0 (``source_offset`` -1)."""
    n = len(np.asarray(columns["ts_event"]))
    arrays = []
    for name, dtype in DTYPES.items():
        if name in columns:
            arrays.append(np.ascontiguousarray(columns[name], dtype=dtype))
        elif name == "source_offset":
            arrays.append(np.full(n, -1, dtype=dtype))
        elif np.dtype(dtype).kind == "f":
            arrays.append(np.full(n, np.nan, dtype=dtype))
        else:
            arrays.append(np.zeros(n, dtype=dtype))
    return Frame(instrument, *arrays)


def trade_number(trade_id: str) -> int:
    """Return a venue's trade id as the int64 that frames carry: itself if it is one, else 63 bits of its SHA-256."""
    if not trade_id:
        return 0
    if trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= 18:
        return int(trade_id)
    return int.from_bytes(hashlib.sha256(trade_id.encode()).digest()[:8], "big") >> 1


def encode(frame: Frame) -> bytes:
    """Return the frame as an Arrow IPC stream of one record batch."""
    schema = pa.schema(FIELDS, metadata={b"instrument": frame.instrument.encode(), b"version": VERSION})
    batch = pa.RecordBatch.from_arrays([pa.array(getattr(frame, name)) for name in DTYPES], schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
