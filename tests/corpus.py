"""Malformed messages for every input topic, in all the ways that the codec must refuse.

``malformed(seed, n)`` is what other tests mix into a stream: each of its messages is refused by construction, not by
asking the codec. ``bit_flips(seed, n)`` is the rest: good messages with bits turned over, which may still be valid.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from schemas import frames, order_frames
from schemas.topics import BY_NAME
from tests.messages import DAY_NS, INPUTS, NOW_NS, Message, flac, good, good_frame, jpeg, png, png_chunk, wav


class Case(NamedTuple):
    """A malformed message, what was done to it, and the reasons that name it rightly."""

    message: Message
    kind: str
    reasons: tuple[str, ...]


# Ways to spoil one. Each takes a random source and a good message and returns the reasons that fit and what to change.

Spoilt = tuple[tuple[str, ...], bytes | None, bytes | None]
_STRUCTURE = ("not_json", "wrong_type", "not_utf8", "bad_frame", "bad_media", "missing_field", "wrong_key")
_NUMBERS = ("price", "size", "bid", "ask", "bid_size", "ask_size", "original_price", "original_size", "amount", "limit")


def _is_json(topic: str) -> bool:
    return BY_NAME[topic].codec in {"json", "json or arrow"}


def _header_of(topic: str, value: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a message's JSON as a dict, and its payload."""
    if _is_json(topic):
        return json.loads(value), b""
    length = int.from_bytes(value[:4], "big")
    return json.loads(value[4 : 4 + length]), value[4 + length :]


def _with_header(topic: str, header: dict[str, Any] | bytes, payload: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return text if _is_json(topic) else len(text).to_bytes(4, "big") + text + payload


def _edit(topic: str, value: bytes, **changes: Any) -> bytes:
    header, payload = _header_of(topic, value)
    return _with_header(topic, {**header, **changes}, payload)


def _raw(topic: str, value: bytes, field: str, token: bytes) -> bytes:
    """Put a token that json.dumps would not write in a field's place."""
    header, payload = _header_of(topic, value)
    text = json.dumps({**header, field: "@@"}, ensure_ascii=False).encode().replace(b'"@@"', token)
    return _with_header(topic, text, payload)


def empty(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt:
    return ("empty",), key, rng.choice((b"", None))


def truncated(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt:
    if topic in {"audio", "charts"}:
        header, payload = _header_of(topic, value)
        # PCM without a header of its own may end anywhere: there, the cut goes through the message's header
        least = 6 if header["media_type"] == "audio/L16" else len(value) - len(payload)
        most = len(value) - len(payload) if header["media_type"] == "audio/L16" else len(value) - 1
        if header["media_type"] == "audio/flac":
            most = least + 42
        return _STRUCTURE, key, value[: rng.randint(least, most)]
    # a frame without the stream's end is whole: the cut goes through its columns
    return _STRUCTURE, key, value[: rng.randint(1, len(value) - (9 if topic == "frames" else 1))]


def random_bytes(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt:
    return (*_STRUCTURE, "out_of_range"), key, b"\xfe" + rng.randbytes(rng.randint(1, 400))


def wrong_key(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "documents":
        return None
    other = rng.choice((b"OTHER.XTOC", b"", None, b"\xff\xfe", key + b" ", key.lower() + b"x", b"k" * 5_000, b"ACME\0"))
    return ("wrong_key",), other, value


def not_utf8(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    field = rng.choice([name for name, held in _header_of(topic, value)[0].items() if isinstance(held, str)])
    bad = rng.choice((b'"\xff"', b'"\xc3("', b'"\xed\xa0\x80"', b'"Z\xfcrich"'))
    return ("not_utf8",), key, _raw(topic, value, field, bad)


def not_json(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    header, payload = _header_of(topic, value)
    text = json.dumps(header, ensure_ascii=False).encode()
    text = rng.choice(
        (text[1:], text + b"}", text.replace(b":", b"=", 1), b"\0" + text, text.replace(b'"', b"'"), b"%%")
    )
    return ("not_json", "wrong_type"), key, _with_header(topic, text, payload)


def not_an_object(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    text = rng.choice((b"[]", b"null", b"42", b'"text"', b"true", b"[{}]"))
    return ("wrong_type",), key, _with_header(topic, text, _header_of(topic, value)[1])


def wrong_type(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    field, was = rng.choice(list(_header_of(topic, value)[0].items()))
    # Of a list its length is looked at first.
    reasons = ("wrong_type", "out_of_range") if isinstance(was, list) else ("wrong_type",)
    return reasons, key, _edit(topic, value, **{field: rng.choice(([1], {"a": 1}, None, True, [[]]))})


def missing_field(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    header, payload = _header_of(topic, value)
    required = {"ts_event", "price", "bid", "document_id", "headline", "order_id", "call_id", "width", "amount"}
    del header[rng.choice(sorted(required & set(header)))]
    return ("missing_field",), key, _with_header(topic, header, payload)


def not_a_number(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    fields = [name for name in _header_of(topic, value)[0] if name in _NUMBERS]
    if not fields:
        return None
    token = rng.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e400"))
    reasons = ("out_of_range",) if b"e" in token else ("not_finite",)
    return reasons, key, _raw(topic, value, rng.choice(fields), token)


def impossible_number(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    fields = [name for name in (_header_of(topic, value)[0] if topic != "frames" else {}) if name in _NUMBERS]
    if not fields:
        return None
    return (
        ("out_of_range",),
        key,
        _edit(topic, value, **{rng.choice(fields): rng.choice((-1.0, -5, -1e-9, 1e300, -1e22))}),
    )


def too_long(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    fields = {"instrument", "trade_id", "order_id", "document_id", "call_id", "account", "transfer_id", "source"}
    present = sorted(fields & set(_header_of(topic, value)[0]))
    return (("out_of_range",), key, _edit(topic, value, **{rng.choice(present): "x" * 129})) if present else None


def unknown_choice(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    present = sorted({"type", "side", "action", "media_type"} & set(_header_of(topic, value)[0]))
    return (("wrong_type",), key, _edit(topic, value, **{rng.choice(present): "sideways"})) if present else None


def huge(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt:
    most = {"frames": 4 << 20, "audio": 8 << 20, "charts": 8 << 20}.get(topic, 256 << 10)
    return ("too_large",), key, value + bytes(most + rng.randint(1, 99) - len(value))


def deep(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    token = rng.choice((b"[", b'{"a":')) * rng.randint(5_000, 10_000)
    return ("too_deep", "not_json", "wrong_type"), key, _raw(topic, value, rng.choice(("ts_event", "unknown")), token)


def from_future(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    ahead = rng.choice((8 * 10**9, 3600 * 10**9, 400 * DAY_NS, 80_000 * DAY_NS))
    if topic == "frames":
        column = rng.choice(("ts_event", "ts_available"))
        return ("from_future",), key, _edited_frame(rng, **{column: ahead})
    return ("from_future",), key, _edit(topic, value, **{rng.choice(("ts_event", "ts_available")): NOW_NS + ahead})


def ancient(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    behind = rng.choice((31 * DAY_NS, 365 * DAY_NS, NOW_NS - NOW_NS // 1000, NOW_NS - 1))
    if topic == "frames":
        return ("too_old",), key, _edited_frame(rng, ts_event=-behind)
    return ("too_old",), key, _edit(topic, value, ts_event=NOW_NS - behind)


def strange_time(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "frames":
        return None
    reason, time = rng.choice(
        (
            ("no_zone", "2025-06-15T15:06:40"),
            ("no_zone", "2025-06-15 15:06:40.123"),
            ("wrong_type", "yesterday"),
            ("wrong_type", "2025-06-15"),
            ("out_of_range", "2025-02-30T00:00:00Z"),
            ("too_old", "0001-01-01T00:00:00Z"),
            ("from_future", "2199-06-15T15:06:40+02:00"),
            ("out_of_range", -5),
            ("out_of_range", 2**70),
            ("wrong_type", 1.75e18),
        )
    )
    return (reason, "out_of_range"), key, _edit(topic, value, ts_event=time)


# Frames that lie.


def _arrow(schema: pa.Schema, arrays: list[pa.Array], batches: int = 1, codec_name: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec_name)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return bytes(sink.getvalue().to_pybytes())


def _parts(frame: frames.Frame) -> tuple[pa.Schema, list[pa.Array]]:
    metadata = {b"instrument": frame.instrument.encode(), b"version": b"1"}
    return pa.schema(frames.FIELDS, metadata=metadata), [pa.array(getattr(frame, name)) for name in frames.DTYPES]


def _edited_frame(rng: random.Random, **moved: int) -> bytes:
    """Return a good frame one row of which has columns moved by so much."""
    frame = good_frame(rng)
    columns = {name: getattr(frame, name).copy() for name in frames.DTYPES}
    for name, by in moved.items():
        columns[name][rng.randrange(len(frame))] += by
    return frames.encode(frames.frame_of("ACME.XTOC", columns))


def _bad_order_rows(rng: random.Random) -> tuple[str, bytes]:
    n = rng.randint(1, 60)
    times = NOW_NS + np.arange(n) * 1_000_000
    columns = {"ts_event": times, "ts_available": times, "side": np.ones(n), "order": np.arange(n), "size": np.ones(n)}
    frame = order_frames.order_frame_of("ACME.XTOC", columns, ("a1", "a2"), ("t1",))
    reason, name, bad = rng.choice(
        (
            ("not_finite", "price", np.nan),
            ("not_finite", "size", np.inf),
            ("out_of_range", "price", -1.0),
            ("out_of_range", "size", -3.0),
            ("out_of_range", "action", rng.randint(6, 255)),
            ("out_of_range", "side", rng.choice((-128, -2, 0, 2, 127))),
            ("out_of_range", "account", rng.choice((-2, 2, 2**31 - 1))),
            ("out_of_range", "trader", rng.choice((-(2**31), 1))),
            ("out_of_range", "order", -1),
            ("too_old", "ts_event", NOW_NS // 1000),
            ("from_future", "ts_available", NOW_NS + DAY_NS),
        )
    )
    getattr(frame, name)[rng.randrange(n)] = bad
    return reason, order_frames.encode(frame)


def bad_rows(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic == "orders":
        reason, value = _bad_order_rows(rng)
        return (reason,), key, value
    if topic != "frames":
        return None
    frame = good_frame(rng)
    columns = {name: getattr(frame, name).copy() for name in frames.DTYPES}
    reason, name, bad = rng.choice(
        (
            ("not_finite", "price", np.nan),
            ("not_finite", "size", np.inf),
            ("out_of_range", "price", -1.0),
            ("out_of_range", "price", 0.0),
            ("out_of_range", "size", -3.0),
            ("out_of_range", "price", 1e200),
            ("out_of_range", "kind", rng.randint(7, 255)),
            ("out_of_range", "side", rng.choice((-128, -2, 2, 127))),
        )
    )
    columns[name][rng.randrange(len(frame) // 3 + 1) * 3 % len(frame)] = bad
    return (reason,), key, frames.encode(frames.frame_of("ACME.XTOC", columns))


def other_structure(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic != "frames":
        return None
    frame = good_frame(rng)
    schema, arrays = _parts(frame)
    meta = schema.metadata
    choice = rng.randrange(10)
    if choice == 0:
        value = _arrow(schema, arrays, batches=rng.choice((0, 2, 3)))
    elif choice == 1:
        value = _arrow(schema, [array[:0] for array in arrays])
    elif choice == 2:
        long = good_frame(rng, 10_001)
        value = _arrow(*_parts(long))
    elif choice == 3:
        index = rng.randrange(len(arrays))
        value = _arrow(schema.remove(index), arrays[:index] + arrays[index + 1 :])
    elif choice == 4:
        index = rng.randrange(len(arrays))
        value = _arrow(schema.set(index, schema.field(index).with_name("other")), arrays)
    elif choice == 5:
        wide = pa.schema([(name, pa.float32()) for name, _ in frames.FIELDS], metadata=meta)
        value = _arrow(wide, [pa.array(np.zeros(len(frame), np.float32)) for _ in frames.FIELDS])
    elif choice == 6:
        words = pa.array(["x"] * len(frame)).dictionary_encode()
        value = _arrow(schema.set(4, pa.field("price", words.type)), [*arrays[:4], words, *arrays[5:]])
    elif choice == 7:
        arrays[4] = pa.array([None] + [1.0] * (len(frame) - 1), pa.float64())
        value = _arrow(schema, arrays)
    elif choice == 8:
        value = _arrow(schema.with_metadata({**meta, b"version": b"2"}), arrays)
    else:
        value = _arrow(pa.schema([(name, pa.list_(pa.int64())) for name, _ in frames.FIELDS], metadata=meta), [
            pa.array([[1]] * 3, pa.list_(pa.int64())) for _ in frames.FIELDS
        ])  # fmt: skip
    return ("bad_frame",), key, value


def frame_bomb(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    """Compressed batches: honest ones, ones of zeros that unfold a hundredfold, and ones that lie about by how much."""
    if topic != "frames":
        return None
    n = rng.choice((5, 1_000, 10_000, 200_000))
    zeros = frames.frame_of("ACME.XTOC", {"ts_event": np.full(n, NOW_NS), "price": np.ones(n), "size": np.ones(n)})
    value = _arrow(*_parts(zeros), codec_name=rng.choice(("lz4", "zstd")))
    honest = struct.pack("<q", n * 8)
    if rng.random() < 0.7:
        value = value.replace(honest, struct.pack("<q", rng.choice((2**31, 2**40, 2**62, -1, -(2**62)))))
    return ("bad_frame",), key, value


def lying_lengths(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    """One of the lengths in a frame's messages says something else."""
    if topic != "frames":
        return None
    frame = good_frame(rng, 37)
    value = frames.encode(frame)
    second = 8 + int.from_bytes(value[4:8], "little")
    body = second + 8 + int.from_bytes(value[second + 4 : second + 8], "little")
    lie = rng.choice((0, 1, 36, 102, 10_001, 2**31, 2**40, 2**62, -1, -37, -(2**63)))
    if rng.random() < 0.3:
        at = rng.choice((4, second + 4))
        size = struct.pack("<i", rng.choice((2**31 - 1, -(2**31), -5, 2**24, 1, 7)))
        return ("bad_frame",), key, value[:at] + size + value[at + 4 :]
    head = value[second:body]
    honest = struct.pack("<q", rng.choice((37, 37 * 8)))
    places = [at for at in range(len(head) - 7) if head[at : at + 8] == honest]
    at = rng.choice(places)
    if lie == 36 or (lie > 37 and honest[0] != 37):
        lie = 2**61
    return ("bad_frame",), key, value[:second] + head[:at] + struct.pack("<q", lie) + head[at + 8 :] + value[body:]


# Sound and pictures that lie.


def _media(topic: str, value: bytes, payload: bytes, **changes: Any) -> bytes:
    header, _ = _header_of(topic, value)
    return _with_header(topic, {**header, **changes}, payload)


def lying_media(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic not in {"audio", "charts"}:
        return None
    makers = _AUDIO_LIES if topic == "audio" else _CHART_LIES
    payload, changes = rng.choice(makers)(rng)
    return ("bad_media", "out_of_range"), key, _media(topic, value, payload, **changes)


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _bomb_png(side: int) -> bytes:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + png_chunk(b"IDAT", zlib.compress(bytes(100_000))) + png_chunk(b"IEND", b"")


Lie = Callable[[random.Random], tuple[bytes, dict[str, Any]]]
_PNG_AS: dict[str, Any] = {"media_type": "image/png", "width": 20, "height": 10}
_JPEG_AS: dict[str, Any] = {"media_type": "image/jpeg", "width": 20, "height": 10}
_WAV_AS: dict[str, Any] = {"media_type": "audio/wav", "sample_rate_hz": 8_000, "channels": 1}
_FLAC_AS: dict[str, Any] = {"media_type": "audio/flac", "sample_rate_hz": 8_000, "channels": 1}
_CHART_LIES: tuple[Lie, ...] = (
    lambda rng: (png(20, 11), _PNG_AS),
    lambda rng: (png(10, 20), _PNG_AS),
    lambda rng: (jpeg(20, rng.randint(11, 60_000)), _JPEG_AS),
    lambda rng: (jpeg(0, 0), _JPEG_AS),
    lambda rng: (png(20, 10), _JPEG_AS),
    lambda rng: (jpeg(20, 10), _PNG_AS),
    lambda rng: (_bomb_png(rng.choice((5_000, 60_000, 2**31 - 1))), _PNG_AS),
    lambda rng: (_bomb_png(60_000), {**_PNG_AS, "width": 60_000, "height": 60_000}),
    lambda rng: (_patched(png(20, 10), 16, struct.pack(">I", rng.randint(21, 2**32 - 1))), _PNG_AS),
    lambda rng: (_patched(png(20, 10), 8, struct.pack(">I", rng.randint(14, 2**32 - 1))), _PNG_AS),
    lambda rng: (_patched(png(20, 10), 33, struct.pack(">I", rng.randint(2**16, 2**32 - 1))), _PNG_AS),
    lambda rng: (_patched(png(20, 10), 43, bytes([png(20, 10)[43] ^ 1 << rng.randrange(8)])), _PNG_AS),
    lambda rng: (png(20, 10)[:-12], _PNG_AS),
    lambda rng: (png(20, 10) + b"MZ\x90", _PNG_AS),
    lambda rng: (b"<html>404</html>", rng.choice((_PNG_AS, _JPEG_AS))),
    lambda rng: (_patched(jpeg(20, 10), 4, struct.pack(">H", rng.choice((0, 1, 15, 17, 65_535)))), _JPEG_AS),
    lambda rng: (rng.randbytes(100), rng.choice((_PNG_AS, _JPEG_AS))),
)
_AUDIO_LIES: tuple[Lie, ...] = (
    lambda rng: (wav(44_100, 1, 50), _WAV_AS),
    lambda rng: (wav(8_000, 2, 50), _WAV_AS),
    lambda rng: (_patched(wav(8_000, 1, 50), 40, struct.pack("<I", rng.randint(102, 2**32 - 1))), _WAV_AS),
    lambda rng: (_patched(wav(8_000, 1, 50), 40, struct.pack("<I", 99)), _WAV_AS),
    lambda rng: (_patched(wav(8_000, 1, 50), 4, struct.pack("<I", rng.randint(200, 2**32 - 1))), _WAV_AS),
    lambda rng: (_patched(wav(8_000, 1, 50), 20, struct.pack("<H", rng.choice((0, 2, 17, 85)))), _WAV_AS),
    lambda rng: (_patched(wav(8_000, 1, 50), 28, struct.pack("<I", 1)), _WAV_AS),
    lambda rng: (wav(8_000, 1, 0), _WAV_AS),
    lambda rng: (wav(8_000, 1, 8_000 * 601 // 4)[:200], _WAV_AS),
    lambda rng: (flac(44_100, 1, 50), _FLAC_AS),
    lambda rng: (flac(8_000, 3, 50), _FLAC_AS),
    lambda rng: (flac(8_000, 1, rng.choice((0, 2**36 - 1, 8_000 * 601))), _FLAC_AS),
    lambda rng: (_patched(flac(8_000, 1, 50), 4, b"\x00"), _FLAC_AS),
    lambda rng: (_patched(flac(8_000, 1, 50), 5, b"\xff\xff"), _FLAC_AS),
    lambda rng: (wav(8_000, 1, 50), _FLAC_AS),
    lambda rng: (flac(8_000, 1, 50), _WAV_AS),
    lambda rng: (bytes(2 * rng.randint(1, 50) + 1), {**_WAV_AS, "media_type": "audio/L16"}),
    lambda rng: (rng.randbytes(100), rng.choice((_WAV_AS, _FLAC_AS))),
)


def lying_envelope(rng: random.Random, topic: str, key: bytes, value: bytes) -> Spoilt | None:
    if topic not in {"audio", "charts"}:
        return None
    choice = rng.randrange(4)
    header, _ = _header_of(topic, value)
    text = json.dumps(header).encode()
    if choice == 0:
        value = struct.pack(">I", rng.choice((0, 1, 2**31, 2**32 - 1, len(value)))) + value[4:]
    elif choice == 1:
        value = len(text).to_bytes(4, "big") + text
    elif choice == 2:
        value = _edit(topic, value, payload="AAAA")
    else:
        value = value[4:]
    return ("bad_media", "not_json"), key, value


SPOILERS: tuple[Callable[[random.Random, str, bytes, bytes], Spoilt | None], ...] = (
    empty,
    truncated,
    truncated,
    random_bytes,
    wrong_key,
    not_utf8,
    not_json,
    not_an_object,
    wrong_type,
    missing_field,
    not_a_number,
    impossible_number,
    too_long,
    unknown_choice,
    huge,
    deep,
    from_future,
    ancient,
    strange_time,
    bad_rows,
    other_structure,
    frame_bomb,
    lying_lengths,
    lying_media,
    lying_media,
    lying_envelope,
)


def cases(seed: int, n: int, max_bytes: int = 1_000_000) -> Iterator[Case]:
    """Yield ``n`` malformed messages with what was done to them, none longer than ``max_bytes``."""
    rng = random.Random(seed)
    made = 0
    while made < n:
        message = good(rng, rng.choice(INPUTS))
        topic, key, value, timestamp_ms = message
        spoil = rng.choice(SPOILERS)
        if spoil is huge and rng.random() > 0.05:
            continue
        assert key is not None
        assert value is not None
        spoilt = spoil(rng, topic, key, value)
        if spoilt is None or len(spoilt[2] or b"") > max_bytes:
            continue
        reasons, key, value = spoilt
        made += 1
        yield Case((topic, key, value, timestamp_ms), spoil.__name__, reasons)


def malformed(seed: int, n: int, max_bytes: int = 1_000_000) -> Iterator[Message]:
    """Yield ``n`` messages (topic without prefix, key, value, timestamp_ms), each of which must be refused."""
    return (case.message for case in cases(seed, n, max_bytes))


def bit_flips(seed: int, n: int) -> Iterator[Message]:
    """Yield ``n`` good messages with one to eight bits of key or value turned over."""
    rng = random.Random(seed)
    for _ in range(n):
        topic, key, value, timestamp_ms = good(rng, rng.choice(INPUTS))
        assert value is not None
        # what is in the first kilobyte decides: headers, schemas and lengths
        turned = bytearray(value)
        for _ in range(rng.choice((1, 1, 2, 8))):
            turned[rng.randrange(min(len(turned), 1_500))] ^= 1 << rng.randrange(8)
        yield topic, key, bytes(turned), timestamp_ms
