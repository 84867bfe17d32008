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
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import BadMessage
from schemas.records import PRICE_MAX, PRICE_MIN, SIZE_MAX, SIZE_MIN

VERSION = b"1"
MAX_ROWS = 10_000


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
DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(kind.to_pandas_dtype()) for name, kind in FIELDS}
SCHEMA = pa.schema(FIELDS)
_ITEM_SIZES = tuple(dtype.itemsize for dtype in DTYPES.values())
_MAX_SCHEMA_BYTES = 65_536
_MAX_KEY_BYTES = 256
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


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


@lru_cache(maxsize=8_192)
def _schema_message(instrument: str) -> bytes:
    """The stream's first message, which depends on the instrument alone."""
    schema = SCHEMA.with_metadata({b"instrument": instrument.encode(), b"version": VERSION})
    return bytes(schema.serialize().to_pybytes())


@lru_cache(maxsize=1_024)
def _batch_header(n: int) -> bytes:
    """The head of a batch message of ``n`` rows; without nulls it depends on the number of rows alone."""
    batch = pa.RecordBatch.from_arrays([pa.array(np.zeros(n, dtype)) for dtype in DTYPES.values()], schema=SCHEMA)
    message = bytes(batch.serialize().to_pybytes())
    return message[: len(message) - sum(-(-n * size // 8) * 8 for size in _ITEM_SIZES)]


def encode(frame: Frame) -> bytes:
    """Return the frame as an Arrow IPC stream of one record batch, byte for byte what pyarrow's writer gives.

    Raises
    ------
    ValueError: the frame has no row, or more than `MAX_ROWS`.
    """
    n = len(frame)
    if not 1 <= n <= MAX_ROWS:
        raise ValueError(f"a frame holds 1 to {MAX_ROWS} rows, found {n}: slice it before encoding")
    padding = bytes(-n % 8)
    parts = [_schema_message(frame.instrument), _batch_header(n)]
    for name, dtype in DTYPES.items():
        column: npt.NDArray[Any] = getattr(frame, name)
        if column.dtype != dtype or len(column) != n:
            raise ValueError(f"column {name}: expected {n} values of {dtype}, found {len(column)} of {column.dtype}")
        parts.append(column.tobytes())
        if column.itemsize == 1:
            parts.append(padding)
    parts.append(_END)
    return b"".join(parts)


def decode(value: bytes, key: bytes) -> Frame:
    """Return the frame in a message, its columns read-only views of ``value``.

    Messages come from anywhere, so nothing is believed: lengths are checked against the bytes at hand before anything
    is built of them, and what could unfold (compression, dictionaries) is refused.

    Parameters
    ----------
    value: an Arrow IPC stream of one record batch, 1 to `MAX_ROWS` rows, with the columns of `FIELDS` and no nulls.
    key: the message's key: the instrument that the schema's metadata names, in UTF-8.

    Raises
    ------
    BadMessage: reason "bad_frame" (structure), "wrong_key", "not_finite" or "out_of_range" (a row's values).
    """
    frame = _as_written_here(value, key) or _parse(value, key)
    _check_rows(frame)
    return frame


@lru_cache(maxsize=1_024)
def _batch_layout(n: int) -> tuple[bytes, tuple[tuple[np.dtype[Any], int], ...]]:
    """The head of a batch of ``n`` rows, and each column's type and place after it."""
    places, at = [], 0
    for dtype in DTYPES.values():
        places.append((dtype, at))
        at += -(-n * dtype.itemsize // 8) * 8
    return _batch_header(n), tuple(places)


_HEAD_BYTES = len(_batch_header(1))
_ROW_BYTES = sum(_ITEM_SIZES)


def _as_written_here(value: bytes, key: bytes) -> Frame | None:
    """Return the frame if the message is, but for its values, byte for byte what `encode` writes; else None.

    Then there is nothing to parse: metadata that is equal to our own needs no walk, which takes longer than the rest.
    """
    try:
        instrument = key.decode()
    except UnicodeDecodeError:
        return None
    schema = _schema_message(instrument) if len(key) <= _MAX_KEY_BYTES else b""
    start = len(schema) + _HEAD_BYTES
    held = len(value) - start - len(_END)
    n = held // _ROW_BYTES  # two columns are padded, by less than half a row together
    if not schema or not 1 <= n <= MAX_ROWS or held != _ROW_BYTES * n + 2 * (-n % 8):
        return None
    head, places = _batch_layout(n)
    if not (value.startswith(schema) and value.startswith(head, len(schema)) and value.endswith(_END)):
        return None
    return Frame(instrument, *(np.frombuffer(value, dtype, n, start + at) for dtype, at in places))


def _parse(value: bytes, key: bytes) -> Frame:
    try:
        if int.from_bytes(value[4:8], "little") > _MAX_SCHEMA_BYTES:
            raise _bad("a schema message within 64 KiB", "a longer one")
        reader = pa.ipc.MessageReader.open_stream(value)
        instrument = _instrument(reader.read_next_message(), key)
        message = reader.read_next_message()
        n, offsets = _layout(message)
        body = message.body
        columns = [
            np.frombuffer(body, dtype, n, offset) for dtype, offset in zip(DTYPES.values(), offsets, strict=True)
        ]
    except StopIteration:
        raise _bad("a schema and one record batch", "a stream that ends before them") from None
    except (pa.ArrowException, OSError, ValueError, struct.error, RecursionError) as error:
        raise _bad("a sound Arrow IPC stream", str(error).split("\n")[0][:200] or type(error).__name__) from None
    try:
        reader.read_next_message()
    except StopIteration:
        pass
    except (pa.ArrowException, OSError, ValueError):
        raise _bad("the stream's end after one record batch", "bytes that are no message") from None
    else:
        raise _bad("exactly one record batch", "more messages after it")
    return Frame(instrument, *columns)


def _bad(expected: str, found: str) -> BadMessage:
    return BadMessage("bad_frame", f"expected {expected}, found {found}; write frames with schemas.frames.encode")


def _instrument(message: pa.ipc.Message, key: bytes) -> str:
    if message.type != "schema":
        raise _bad("a schema message first", f"a {message.type} message")
    schema = pa.ipc.read_schema(message)
    if not schema.equals(SCHEMA) and (
        schema.names != SCHEMA.names or schema.types != SCHEMA.types or not _little_endian(message)
    ):
        raise _bad(
            "the columns of schemas.frames.FIELDS, in order, little-endian", str(list(schema.names))[:200] or "others"
        )
    metadata = schema.metadata or {}
    if metadata.get(b"version") != VERSION:
        raise _bad("version 1 in the schema's metadata", str(metadata.get(b"version"))[:40])
    if metadata.get(b"instrument") != key:
        raise BadMessage(
            "wrong_key",
            f"expected the frame's instrument {metadata.get(b'instrument', b'')[:64]!r} as the message's key, "
            f"found {key[:64]!r}; key the message by its instrument",
        )
    return key.decode()


# A walk over the message's flatbuffer (Message.fbs of the Arrow format). pyarrow has verified it, but has no switch
# that keeps it from decompressing a batch, and does not compare a column's length with its buffer.


def _table(meta: memoryview, position: int, slots: int) -> list[int]:
    """Return the absolute position of each of a table's first ``slots`` fields, 0 where a field is absent."""
    vtable = position - struct.unpack_from("<i", meta, position)[0]
    held = (struct.unpack_from("<H", meta, vtable)[0] - 4) // 2
    offsets = struct.unpack_from(f"<{min(held, slots)}H", meta, vtable + 4)
    return [position + offset if offset else 0 for offset in offsets] + [0] * (slots - len(offsets))


def _header(meta: memoryview, slots: int) -> list[int]:
    """Return the positions of the fields of the message's header table."""
    _, _, header = _table(meta, struct.unpack_from("<I", meta, 0)[0], 3)
    return _table(meta, header + struct.unpack_from("<I", meta, header)[0], slots)


def _little_endian(message: pa.ipc.Message) -> bool:
    meta = memoryview(message.metadata)
    (endianness,) = _header(meta, 1)
    return not endianness or struct.unpack_from("<h", meta, endianness)[0] == 0


def _vector(meta: memoryview, position: int, count: int) -> tuple[int, ...]:
    """Return the 64-bit pairs of a vector of ``count`` structs (field nodes, buffers)."""
    start = position + struct.unpack_from("<I", meta, position)[0]
    found = struct.unpack_from("<I", meta, start)[0]
    if not position or found != count:
        raise _bad(f"{count} entries in the batch's table", str(found))
    return struct.unpack_from(f"<{2 * count}q", meta, start + 4)


def _layout(message: pa.ipc.Message) -> tuple[int, list[int]]:
    """Return the number of rows, and where in the body each column's values begin."""
    if message.type != "record batch":
        raise _bad("a record batch after the schema", f"a {message.type} message")
    meta = memoryview(message.metadata)
    length, nodes, buffers, compression, _ = _header(meta, 5)
    if compression:
        raise _bad("an uncompressed record batch", "a compressed one")
    n = struct.unpack_from("<q", meta, length)[0] if length else 0
    if not 1 <= n <= MAX_ROWS:
        raise _bad(f"1 to {MAX_ROWS} rows", str(n))
    if _vector(meta, nodes, len(FIELDS)) != (n, 0) * len(FIELDS):
        raise _bad(f"{n} values and no null in every column", "other lengths, or nulls")
    places = _vector(meta, buffers, 2 * len(FIELDS))
    held = message.body.size
    end = 0
    for offset, size in zip(places[::2], places[1::2], strict=True):
        if offset < end or offset % 8 or not 0 <= size <= held - offset:
            raise _bad(f"buffers side by side within the body's {held} bytes", f"{size} bytes at {offset}")
        end = offset + size
    for size, item in zip(places[3::4], _ITEM_SIZES, strict=True):
        if not n * item <= size <= n * item + 63:  # padded to 64 bytes at most
            raise _bad(f"{n * item} bytes of values in a column", str(size))
    return n, list(places[2::4])


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
