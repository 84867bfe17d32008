"""Frames on the wire: columns of one length as an Arrow IPC stream of one record batch, written and read with care.

Messages come from anywhere, so nothing is believed: lengths are checked against the bytes at hand before anything is
built of them, and what could unfold (compression, dictionaries) is refused. What the rows may hold is checked by those
who name the columns: `schemas.frames` and `schemas.order_frames`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import BadMessage

VERSION = b"1"
MAX_ROWS = 10_000
Column = npt.NDArray[Any]
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Layout:
    """The columns of one kind of frame, in their order, and what follows from them alone.

    Parameters
    ----------
    fields: the columns' names and types, all of a fixed width.
    module: who writes such frames, for what a refusal advises.
    absent: what stands in a column that a writer leaves out; without an entry NaN, or 0 where there is no NaN.
    max_schema_bytes: how long a stream's first message may be.
    """

    def __init__(
        self,
        fields: Sequence[tuple[str, pa.DataType]],
        module: str,
        absent: Mapping[str, float],
        max_schema_bytes: int = 65_536,
    ) -> None:
        self.dtypes: dict[str, np.dtype[Any]] = {name: np.dtype(kind.to_pandas_dtype()) for name, kind in fields}
        self.schema = pa.schema(fields)
        self.module = module
        self.max_schema_bytes = max_schema_bytes
        self.absent = {name: np.nan if dtype.kind == "f" else 0 for name, dtype in self.dtypes.items()} | dict(absent)
        self.row_bytes = sum(dtype.itemsize for dtype in self.dtypes.values())
        self.head_bytes = len(_batch(self, 1)[0])

    def filled(self, columns: Mapping[str, npt.ArrayLike]) -> list[Column]:
        """Return all columns, each contiguous and of its type; what is not given holds what ``absent`` says."""
        n = len(np.asarray(columns["ts_event"]))
        return [
            np.ascontiguousarray(columns[name], dtype) if name in columns else np.full(n, self.absent[name], dtype)
            for name, dtype in self.dtypes.items()
        ]

    def schema_message(self, metadata: Mapping[bytes, bytes]) -> bytes:
        """Return a stream's first message: the columns, and the metadata with the version behind it."""
        schema = self.schema.with_metadata({**metadata, b"version": VERSION})
        return bytes(schema.serialize().to_pybytes())

    def encode(self, schema_message: bytes, frame: Sized) -> bytes:
        """Return a frame as a stream of one record batch, byte for byte what pyarrow's writer gives.

        Parameters
        ----------
        schema_message: the stream's first message.
        frame: has an attribute for each column, an array of shape (n,).

        Raises
        ------
        ValueError: there is no row, or more than `MAX_ROWS`, or a column is not what it should be.
        """
        n = len(frame)
        if not 1 <= n <= MAX_ROWS:
            raise ValueError(f"a frame holds 1 to {MAX_ROWS} rows, found {n}: slice it before encoding")
        parts = [schema_message, _batch(self, n)[0]]
        for name, dtype in self.dtypes.items():
            column: Column = getattr(frame, name)
            if column.dtype != dtype or len(column) != n:
                found = f"{len(column)} of {column.dtype}"
                raise ValueError(f"column {name}: expected {n} values of {dtype}, found {found}")
            parts.append(column.tobytes())
            if column.itemsize < 8:
                parts.append(bytes(-n * column.itemsize % 8))
        parts.append(_END)
        return b"".join(parts)

    def as_written_here(self, value: bytes, start: int) -> list[Column] | None:
        """Return the columns if what follows ``start`` is, but for the values, what `encode` writes there; else None.

        Then there is nothing to parse: metadata that is equal to our own needs no walk, which takes longer than the
        rest.
        """
        body = start + self.head_bytes
        n = (len(value) - body - len(_END)) // self.row_bytes  # padding is less than a row
        if not 1 <= n <= MAX_ROWS:
            return None
        head, places, body_bytes = _batch(self, n)
        if len(value) != body + body_bytes + len(_END):
            return None
        if not (value.startswith(head, start) and value.endswith(_END)):
            return None
        return [np.frombuffer(value, dtype, n, body + at) for dtype, at in places]

    def read_schema(self, value: bytes) -> Mapping[bytes, bytes]:
        """Return the metadata of a stream's first message, which says what the columns are.

        Raises
        ------
        BadMessage: reason "bad_frame".
        """
        if int.from_bytes(value[4:8], "little") > self.max_schema_bytes:
            raise self.bad(f"a schema message within {self.max_schema_bytes >> 10} KiB", "a longer one")
        with self._soundly():
            return self._metadata(pa.ipc.MessageReader.open_stream(value).read_next_message())

    def parse(self, value: bytes) -> list[Column]:
        """Return the columns of a stream whose schema was read, views of ``value``.

        Raises
        ------
        BadMessage: reason "bad_frame".
        """
        with self._soundly():
            reader = pa.ipc.MessageReader.open_stream(value)
            reader.read_next_message()
            message = reader.read_next_message()
            n, offsets = self._places(message)
            body = message.body
            columns = [
                np.frombuffer(body, dtype, n, offset)
                for dtype, offset in zip(self.dtypes.values(), offsets, strict=True)
            ]
        try:
            reader.read_next_message()
        except StopIteration:
            return columns
        except (pa.ArrowException, OSError, ValueError):
            raise self.bad("the stream's end after one record batch", "bytes that are no message") from None
        raise self.bad("exactly one record batch", "more messages after it")

    @contextmanager
    def _soundly(self) -> Iterator[None]:
        """Turn what reading an unsound stream raises into a refusal."""
        try:
            yield
        except StopIteration:
            raise self.bad("a schema and one record batch", "a stream that ends before them") from None
        except (pa.ArrowException, OSError, ValueError, struct.error, RecursionError) as error:
            text = str(error).split("\n")[0][:200] or type(error).__name__
            raise self.bad("a sound Arrow IPC stream", text) from None

    def bad(self, expected: str, found: str) -> BadMessage:
        """Return the refusal of a frame whose structure is not as expected."""
        return BadMessage("bad_frame", f"expected {expected}, found {found}; write frames with {self.module}.encode")

    def _metadata(self, message: pa.ipc.Message) -> Mapping[bytes, bytes]:
        if message.type != "schema":
            raise self.bad("a schema message first", f"a {message.type} message")
        schema = pa.ipc.read_schema(message)
        if not schema.equals(self.schema) and (
            schema.names != self.schema.names or schema.types != self.schema.types or not _little_endian(message)
        ):
            raise self.bad(
                f"the columns of {self.module}.FIELDS, in order, little-endian",
                str(list(schema.names))[:200] or "others",
            )
        metadata: Mapping[bytes, bytes] = schema.metadata or {}
        if metadata.get(b"version") != VERSION:
            raise self.bad("version 1 in the schema's metadata", str(metadata.get(b"version"))[:40])
        return metadata

    def _places(self, message: pa.ipc.Message) -> tuple[int, list[int]]:
        """Return the number of rows, and where in the body each column's values begin."""
        if message.type != "record batch":
            raise self.bad("a record batch after the schema", f"a {message.type} message")
        meta = memoryview(message.metadata)
        length, nodes, buffers, compression, _ = _header(meta, 5)
        if compression:
            raise self.bad("an uncompressed record batch", "a compressed one")
        n = struct.unpack_from("<q", meta, length)[0] if length else 0
        if not 1 <= n <= MAX_ROWS:
            raise self.bad(f"1 to {MAX_ROWS} rows", str(n))
        columns = len(self.dtypes)
        if self._vector(meta, nodes, columns) != (n, 0) * columns:
            raise self.bad(f"{n} values and no null in every column", "other lengths, or nulls")
        places = self._vector(meta, buffers, 2 * columns)
        held = message.body.size
        end = 0
        for offset, size in zip(places[::2], places[1::2], strict=True):
            if offset < end or offset % 8 or not 0 <= size <= held - offset:
                raise self.bad(f"buffers side by side within the body's {held} bytes", f"{size} bytes at {offset}")
            end = offset + size
        for size, dtype in zip(places[3::4], self.dtypes.values(), strict=True):
            least = n * dtype.itemsize
            if not least <= size <= least + 63:  # padded to 64 bytes at most
                raise self.bad(f"{least} bytes of values in a column", str(size))
        return n, list(places[2::4])

    def _vector(self, meta: memoryview, position: int, count: int) -> tuple[int, ...]:
        """Return the 64-bit pairs of a vector of ``count`` structs (field nodes, buffers)."""
        start = position + struct.unpack_from("<I", meta, position)[0]
        found = struct.unpack_from("<I", meta, start)[0]
        if not position or found != count:
            raise self.bad(f"{count} entries in the batch's table", str(found))
        return struct.unpack_from(f"<{2 * count}q", meta, start + 4)


@lru_cache(maxsize=2_048)
def _batch(layout: Layout, n: int) -> tuple[bytes, tuple[tuple[np.dtype[Any], int], ...], int]:
    """The head of a batch message of ``n`` rows, each column's type and place after it, and the bytes of all.

    Without nulls they depend on the number of rows alone.
    """
    places, at = [], 0
    for dtype in layout.dtypes.values():
        places.append((dtype, at))
        at += -(-n * dtype.itemsize // 8) * 8
    columns = [pa.array(np.zeros(n, dtype)) for dtype in layout.dtypes.values()]
    message = bytes(pa.RecordBatch.from_arrays(columns, schema=layout.schema).serialize().to_pybytes())
    return message[: len(message) - at], tuple(places), at


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
