"""Good messages for every input topic, and the files that some of them carry."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np

from schemas import codec, frames, records

INPUTS = ("ticks", "documents", "frames", "orders", "news", "transcripts", "audio", "charts", "transfers", "statements")
NOW_NS = 1_750_000_000 * 10**9
DAY_NS = 86_400 * 10**9
Message = tuple[str, bytes | None, bytes | None, int]


# Files, as small as the formats allow.


def png(width: int, height: int, shade: int = 200) -> bytes:
    """Return a grey PNG."""
    rows = zlib.compress((b"\0" + bytes([shade]) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            (b"IDAT", rows),
            (b"IEND", b""),
        )
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(width: int, height: int) -> bytes:
    """Return the segments of a grey JPEG; its scan is no picture."""
    app0 = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    sof0 = b"\xff\xc0" + struct.pack(">HBHHB3B", 11, 8, height, width, 1, 1, 0x11, 0)
    sos = b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 0, 63, 0)
    return b"\xff\xd8" + app0 + sof0 + sos + b"\x12\x34\x56" + b"\xff\xd9"


def wav(rate_hz: int, channels: int, samples: int) -> bytes:
    """Return silence in 16-bit PCM."""
    block = 2 * channels
    data = bytes(block * samples)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * block, block, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flac(rate_hz: int, channels: int, samples: int) -> bytes:
    """Return FLAC metadata and the head of a frame; no sound."""
    packed = rate_hz << 44 | (channels - 1) << 41 | 15 << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + b"\x80\x00\x00\x22" + info + b"\xff\xf8\xc9\x08\x00" + bytes(20)


# Good messages.


def good_frame(rng: random.Random, n: int | None = None) -> frames.Frame:
    """Return a frame of trades and quotes."""
    n = n or rng.randint(2, 60)
    times = NOW_NS + np.arange(n) * 1_000_000
    quote = np.arange(n) % 3 == 2
    mid = 10 + rng.random()
    return frames.frame_of(
        "ACME.XTOC",
        {
            "ts_event": times,
            "ts_available": times + 1_000_000,
            "kind": np.where(quote, frames.Kind.QUOTE, frames.Kind.TRADE),
            "side": np.where(quote, 0, 1),
            "price": np.where(quote, np.nan, mid),
            "size": np.where(quote, np.nan, 3.0),
            "bid": np.where(quote, mid - 0.01, np.nan),
            "ask": np.where(quote, mid + 0.01, np.nan),
            "bid_size": np.where(quote, 5.0, np.nan),
            "ask_size": np.where(quote, 0.0, np.nan),
            "trade_id": np.arange(n),
        },
    )


def good_record(rng: random.Random, topic: str) -> Any:
    """Return a record of a topic, or a frame."""
    when: dict[str, Any] = {"ts_event": NOW_NS + rng.randrange(10**9), "ts_available": NOW_NS + 10**9}
    where: dict[str, Any] = {**when, "instrument": "ACME.XTOC"}
    price, size = round(rng.uniform(1, 100), 4), float(rng.randint(1, 1000))
    words = " ".join(
        rng.choice(("Acme", "rises", "falls", "Zürich", "$BOREAL", "後場", "on", "volume")) for _ in range(9)
    )
    match topic:
        case "frames":
            return good_frame(rng)
        case "ticks":
            return rng.choice(
                (
                    records.Trade(**where, price=price, size=size, side="buy", trade_id=str(rng.randrange(10**6))),
                    records.Quote(**where, bid=price, ask=price + 0.01, bid_size=size, ask_size=size),
                    records.BookUpdate(**where, side="sell", price=price, size=size),
                    records.Correction(**where, price=price, size=size, original_price=price, original_size=1.0),
                    records.Cancel(**where, price=price, size=size, trade_id="7"),
                )
            )
        case "documents":
            return records.Document(
                **when, document_id=f"d{rng.randrange(10**6)}", headline=words, instruments=["$ACME"]
            )
        case "news":
            return records.News(**where, document_id=f"d{rng.randrange(10**6)}", headline=words, body=words)
        case "orders":
            return records.OrderEvent(**where, order_id="o1", action="new", side="buy", price=price, size=size)
        case "transcripts":
            return records.TranscriptSegment(**where, call_id="c1", segment=rng.randrange(99), text=words)
        case "audio":
            kind, make = rng.choice((("audio/wav", wav), ("audio/flac", flac), ("audio/L16", lambda *_: bytes(400))))
            rate, channels = rng.choice((8_000, 16_000)), rng.choice((1, 2))
            return records.AudioSegment(
                **where,
                call_id="c1",
                segment=rng.randrange(99),
                media_type=kind,
                sample_rate_hz=rate,
                channels=channels,
                payload=make(rate, channels, rng.randint(1, 400)),
            )
        case "charts":
            kind, draw = rng.choice((("image/png", png), ("image/jpeg", jpeg)))
            width, height = rng.randint(1, 64), rng.randint(1, 64)
            return records.ChartSnapshot(
                **where, media_type=kind, width=width, height=height, payload=draw(width, height)
            )
        case "transfers":
            return records.Transfer(
                **when, transfer_id="t1", account="a1", counterparty="a2", amount=price, currency="USD"
            )
        case "statements":
            return records.Statement(
                **when,
                statement_id="s1",
                account="a1",
                currency="TWD",
                limit=price,
                billed=[rng.uniform(-1, 1) * price for _ in range(6)],
                paid=[rng.random() * price for _ in range(6)],
                delays=[rng.randint(-2, 3) for _ in range(6)],
            )
    raise KeyError(topic)


def good(rng: random.Random, topic: str) -> Message:
    """Return a message that the codec takes."""
    record = good_record(rng, topic)
    key = {"documents": b"", "transfers": b"a1", "statements": b"a1"}.get(topic, b"ACME.XTOC")
    return topic, key, codec.encode(record), NOW_NS // 10**6 + 2_000
