"""Frames: many ticks of one instrument in columns, on the wire as one Arrow IPC stream.

| column | type | unit | filled for |
|---|---|---|---|
| ts_event, ts_available | int64 | ns UTC | all |
| kind | uint8 | `Kind` | all |
| side | int8 | +1 buy (bid), -1 sell (ask), 0 unknown | trade, book |
| price, size | float64 | quote currency, units | trade, correction, cancel, book |
| bid, ask, bid_size, ask_size | float64 | quote currency, units | quote; of a correction the original (bid, bid_size) |
| trade_id | int64 | the venue's number, or a 63-bit hash of its text; 0 none | trade, correction, cancel |
| source_offset | int64 | offset on tocsin.ticks, -1 none | all |

The schema's metadata holds the instrument and the version. Rows stand in order of arrival.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import Layout
from schemas.errors import BadMessage
from schemas.records import PRICE_MAX, PRICE_MIN, SIZE_MAX, SIZE_MIN


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
LAYOUT = Layout(FIELDS, "schemas.frames", {"source_offset": -1})
SCHEMA = LAYOUT.schema
DTYPES = LAYOUT.dtypes
_MAX_KEY_BYTES = 256


class Frame(msgspec.Struct, frozen=True, eq=False):
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
    return Frame(instrument, *LAYOUT.filled(columns))


def trade_number(trade_id: str) -> int:
    """Return a venue's trade id as the int64 that frames carry: itself if it is one, else 63 bits of its SHA-256."""
    if not trade_id:
        return 0
    if trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= 18:
        return int(trade_id)
    return int.from_bytes(hashlib.sha256(trade_id.encode()).digest()[:8], "big") >> 1


@lru_cache(maxsize=8_192)
def _schema_message(instrument: str) -> bytes:
    """The stream's first message, which depends on the instrument alone."""
    return LAYOUT.schema_message({b"instrument": instrument.encode()})


def encode(frame: Frame) -> bytes:
    """Return the frame as an Arrow IPC stream of one record batch, byte for byte what pyarrow's writer gives.

    Raises
    ------
    ValueError: the frame has no row, or more than `schemas.columns.MAX_ROWS`.
    """
    return LAYOUT.encode(_schema_message(frame.instrument), frame)


def decode(value: bytes, key: bytes) -> Frame:
    """Return the frame in a message, its columns read-only views of ``value``.

    Parameters
    ----------
    value: an Arrow IPC stream of one record batch, 1 to `schemas.columns.MAX_ROWS` rows, with the columns of `FIELDS`
        and no nulls.
    key: the message's key: the instrument that the schema's metadata names, in UTF-8.

    Raises
    ------
    BadMessage: reason "bad_frame" (structure), "wrong_key", "not_finite" or "out_of_range" (a row's values).
    """
    frame = _as_written_here(value, key) or _parse(value, key)
    _check_rows(frame)
    return frame


def _as_written_here(value: bytes, key: bytes) -> Frame | None:
    """Return the frame if the message is, but for its values, byte for byte what `encode` writes; else None."""
    try:
        instrument = key.decode()
    except UnicodeDecodeError:
        return None
    if len(key) > _MAX_KEY_BYTES or not value.startswith(schema := _schema_message(instrument)):
        return None
    columns = LAYOUT.as_written_here(value, len(schema))
    return Frame(instrument, *columns) if columns else None


def _parse(value: bytes, key: bytes) -> Frame:
    instrument = named_as(LAYOUT.read_schema(value), key)
    return Frame(instrument, *LAYOUT.parse(value))


def named_as(metadata: Mapping[bytes, bytes], key: bytes) -> str:
    """Return the instrument that a schema's metadata names.

    Raises
    ------
    BadMessage: reason "wrong_key": it is not the message's key.
    """
    if metadata.get(b"instrument") != key:
        raise BadMessage(
            "wrong_key",
            f"expected the frame's instrument {metadata.get(b'instrument', b'')[:64]!r} as the message's key, "
            f"found {key[:64]!r}; key the message by its instrument",
        )
    return key.decode()


def _check_rows(frame: Frame) -> None:
    kind = frame.kind
    first = last = 0
    if np.count_nonzero(kind):  # trades alone are the most, and this sees it in a fifth of the time
        first, last = int(kind.min()), int(kind.max())
    if last > _LAST_KIND:
        raise BadMessage("out_of_range", f"kind: expected 0 to {Kind.RESUME:d}, found {last}; see schemas.frames.Kind")
    if (frame.side + 1).view(np.uint8).max() > 2:  # -1, 0 and +1 made 0, 1 and 2, all others more
        raise BadMessage("out_of_range", "side: expected -1, 0 or +1 in every row; 0 stands for unknown")
    if first == last:
        _check_kind(frame, first)
    elif not _all_within(frame):
        for one in range(first, last + 1):
            rows = np.flatnonzero(kind == one)
            if len(rows):
                _check_kind(frame[rows], one)


# As plain numbers: looking a member of an enum up takes longer than the comparison.
_LAST_KIND, _BOOK = int(Kind.RESUME), int(Kind.BOOK)
_PRICED = ("price", "size")
#: kind → columns of prices and traded sizes (> 0), columns of resting sizes (>= 0).
_CHECKED: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Kind.TRADE: (_PRICED, ()),
    Kind.QUOTE: (("bid", "ask"), ("bid_size", "ask_size")),
    Kind.BOOK: (("price",), ("size",)),
    Kind.CORRECTION: ((*_PRICED, "bid", "bid_size"), ()),
    Kind.CANCEL: (_PRICED, ()),
    Kind.HALT: ((), ()),
    Kind.RESUME: ((), ()),
}


_NUMBERS = ("price", "size", "bid", "ask", "bid_size", "ask_size")


def _bounds(name: str, resting: tuple[str, ...]) -> tuple[float, float]:
    floor = 0.0 if name in resting else SIZE_MIN if "size" in name else PRICE_MIN
    return floor, SIZE_MAX if "size" in name else PRICE_MAX


def _table_of_bounds() -> npt.NDArray[np.float64]:
    """Return the least and the greatest number of each kind and column, (2, kinds, numbers); unchecked holds none."""
    table = np.empty((2, len(_CHECKED), len(_NUMBERS)))
    table[0], table[1] = np.inf, -np.inf
    for kind, (positive, resting) in _CHECKED.items():
        for name in positive + resting:
            table[:, kind, _NUMBERS.index(name)] = _bounds(name, resting)
    return table


_LEAST, _MOST = _table_of_bounds()
_CHECKS = np.count_nonzero(np.isfinite(_LEAST), axis=1)  # of each kind


def _all_within(frame: Frame) -> bool:
    """Tell whether all numbers of rows of several kinds are sound, in one pass; what is not is then looked for."""
    kind = frame.kind
    found = np.concatenate([getattr(frame, name) for name in _NUMBERS]).reshape(len(_NUMBERS), -1)  # (numbers, n)
    within = (found >= _LEAST.take(kind, axis=0).T) & (found <= _MOST.take(kind, axis=0).T)
    if np.count_nonzero(within) != int(_CHECKS.take(kind).sum()):
        return False
    return not np.count_nonzero((kind == _BOOK) > (frame.side != 0))


def _check_kind(rows: Frame, kind: int) -> None:
    positive, resting = _CHECKED[kind]
    for name in positive + resting:
        column: npt.NDArray[np.float64] = getattr(rows, name)
        least, most = column.min(), column.max()  # NaN if any value is
        if not -np.inf < least <= most < np.inf:
            raise BadMessage(
                "not_finite", f"{name}: expected finite numbers, found NaN or infinity; leave such rows out of a frame"
            )
        floor, ceiling = _bounds(name, resting)
        if not floor <= least <= most <= ceiling:
            raise BadMessage(
                "out_of_range",
                f"{name}: expected {floor:g} to {ceiling:g}, found {least:g} to {most:g}; correct or leave out the row",
            )
    if kind == _BOOK and not rows.side.all():
        raise BadMessage("out_of_range", "side: expected -1 or +1 in every row of the book, found 0; name the side")
