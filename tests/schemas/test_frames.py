"""Frames on the wire: what Arrow itself writes and reads, and what the rows may hold."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas import frames
from schemas.codec import BadMessage
from schemas.frames import Kind

T = 1_700_000_000_000_000_000
ACME = b"ACME.XTOC"
NAN = float("nan")


def frame(n: int = 3, **columns: Any) -> frames.Frame:
    times = T + np.arange(n)
    return frames.frame_of(
        "ACME.XTOC",
        {"ts_event": times, "ts_available": times, "price": np.full(n, 5.0), "size": np.ones(n), **columns},
    )


def written_by_arrow(schema: pa.Schema, ticks: frames.Frame, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(
            pa.RecordBatch.from_arrays([pa.array(getattr(ticks, name)) for name in frames.DTYPES], schema=schema)
        )
    return sink.getvalue()


METADATA = {b"instrument": ACME, b"version": b"1"}
SCHEMA = pa.schema(frames.FIELDS, metadata=METADATA)


@pytest.mark.parametrize("n", [1, 7, 8, 500, 10_000])
def test_the_encoder_writes_what_arrow_writes(n: int) -> None:
    assert frames.encode(frame(n)) == written_by_arrow(SCHEMA, frame(n))


def test_frames_of_other_writers_are_read() -> None:
    strict = pa.schema([pa.field(name, kind, nullable=False) for name, kind in frames.FIELDS], metadata=METADATA)
    for value in (
        written_by_arrow(strict, frame()),
        written_by_arrow(SCHEMA.with_metadata({**METADATA, b"writer": b"other"}), frame()),
        frames.encode(frame())[:-8],  # without the stream's end
    ):
        assert frames.decode(value, ACME).price.tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("n", [1, 7, 8, 500])
def test_metadata_in_another_order_changes_nothing(n: int) -> None:
    ts = np.arange(n) * 10
    frame = frames.frame_of("ACME.XNYS", {"ts_event": ts, "ts_available": ts, "price": ts + 1.0, "size": ts + 2.0})
    columns = [pa.array(getattr(frame, name)) for name in frames.DTYPES]
    sink = io.BytesIO()
    schema = frames.SCHEMA.with_metadata({b"version": b"1", b"instrument": b"ACME.XNYS"})
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    other, ours = sink.getvalue(), frames.encode(frame)
    assert other != ours
    for name in frames.DTYPES:
        read = [getattr(frames.decode(value, b"ACME.XNYS"), name) for value in (other, ours)]
        np.testing.assert_array_equal(read[0], read[1])


def test_columns_are_views_of_the_message() -> None:
    read = frames.decode(frames.encode(frame()), ACME)
    assert not read.price.flags.owndata
    assert not read.price.flags.writeable


def test_a_frame_of_no_rows_or_too_many_is_not_written() -> None:
    for n in (0, 10_001):
        with pytest.raises(ValueError, match="1 to 10000 rows"):
            frames.encode(frame(n))


QUOTE = {"kind": [Kind.QUOTE] * 3, "bid": [4.0] * 3, "ask": [5.0] * 3, "bid_size": [0.0] * 3, "ask_size": [1.0] * 3}
BOOK = {"kind": [Kind.BOOK] * 3, "side": [1, -1, 1]}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"price": [5.0, NAN, 5.0]}, "not_finite"),
        ({"size": [1.0, np.inf, 1.0]}, "not_finite"),
        ({"price": [5.0, 0.0, 5.0]}, "out_of_range"),
        ({"size": [1.0, 0.0, 1.0]}, "out_of_range"),
        ({"kind": [0, 7, 0]}, "out_of_range"),
        ({"side": [0, 2, 0]}, "out_of_range"),
        (QUOTE, None),
        ({**QUOTE, "price": [NAN] * 3, "size": [NAN] * 3}, None),  # a quote has no price of its own
        ({**QUOTE, "bid": [6.0] * 3}, None),  # crossed: for cleaning to count
        ({**QUOTE, "bid": [0.0] * 3}, "out_of_range"),
        ({**QUOTE, "ask_size": [-1.0] * 3}, "out_of_range"),
        ({**QUOTE, "ask": [NAN] * 3}, "not_finite"),
        ({**BOOK, "size": [0.0] * 3}, None),
        ({**BOOK, "side": [1, 0, 1]}, "out_of_range"),
        ({"kind": [Kind.CORRECTION] * 3}, "not_finite"),  # without the original
        ({"kind": [Kind.CORRECTION] * 3, "bid": [5.0] * 3, "bid_size": [1.0] * 3}, None),
        ({"kind": [Kind.HALT, Kind.RESUME, Kind.HALT], "price": [NAN] * 3, "size": [NAN] * 3}, None),
    ],
)
def test_rows_are_checked_by_their_kind(columns: dict[str, Any], reason: str | None) -> None:
    value = frames.encode(frame(**columns))
    if reason is None:
        frames.decode(value, ACME)
    else:
        with pytest.raises(BadMessage) as caught:
            frames.decode(value, ACME)
        assert caught.value.reason == reason


def test_a_big_endian_frame_is_refused() -> None:
    little = SCHEMA.serialize().to_pybytes()
    value = frames.encode(frame())
    assert value.startswith(little)
    # Schema.fbs: endianness is a 16-bit field that writers leave out where it is little; find a schema that has it
    big = _with_endianness(little)
    with pytest.raises(BadMessage, match="bad_frame"):
        frames.decode(big + value[len(little) :], ACME)


def _with_endianness(message: bytes) -> bytes:
    """Point the schema table's first slot at two bytes that hold 1: flatbuffers allow sharing any bytes in reach."""
    changed = bytearray(message)
    meta = memoryview(changed)[8:]
    root = int.from_bytes(meta[:4], "little")
    vtable = root - int.from_bytes(meta[root : root + 4], "little", signed=True)
    header = root + int.from_bytes(meta[vtable + 8 : vtable + 10], "little")
    table = header + int.from_bytes(meta[header : header + 4], "little")
    slots = table - int.from_bytes(meta[table : table + 4], "little", signed=True)
    size = int.from_bytes(meta[slots + 2 : slots + 4], "little")
    for offset in range(4, size - 1, 2):
        if bytes(meta[table + offset : table + offset + 2]) == b"\x00\x00":
            meta[table + offset : table + offset + 2] = b"\x01\x00"
            meta[slots + 4 : slots + 6] = offset.to_bytes(2, "little")
            return bytes(changed)
    raise AssertionError("no spare bytes in the schema table")


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_a_compressed_frame_is_refused_before_it_unfolds(name: str) -> None:
    value = written_by_arrow(SCHEMA, frame(10_000), compression=name)
    with pytest.raises(BadMessage, match="an uncompressed record batch"):
        frames.decode(value, ACME)
