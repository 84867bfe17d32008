"""From message to record and back: the one place where bytes of others are checked.

What passes here is trusted everywhere else: types and bounds (`schemas.records`), keys, sizes, the payloads of sound
and pictures, and times, which are compared only with one another and with Kafka's timestamp of the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import msgspec
import numpy as np

from schemas import frames, journal, media, order_frames
from schemas.alerts import AlertEvent
from schemas.control import Change, Promotion, RuleChange
from schemas.errors import REASONS as REASONS
from schemas.errors import BadMessage as BadMessage
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from schemas.records import (
    AudioSegment,
    ChartSnapshot,
    DeadLetter,
    Disposition,
    Document,
    Drift,
    News,
    Opening,
    OrderEvent,
    Record,
    Review,
    Score,
    Signal,
    Statement,
    Tick,
    TranscriptSegment,
    Transfer,
)
from schemas.topics import BY_NAME, DAY_MS

#: 1990-01-01 and 2200-01-01: what lies outside is not a time in nanoseconds.
EARLIEST_NS, LATEST_NS = 631_152_000 * 10**9, 7_258_118_400 * 10**9


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How large a message may be, in bytes, and how far its times may lie apart.

    ``ahead_ns``: how much ``ts_event`` may exceed ``ts_available``, and that Kafka's timestamp. ``lag_ns``: how much
    ``ts_available`` may exceed ``ts_event``; ``words_lag_ns`` the same for documents, news and transcripts.
    """

    json_bytes: int = 256 * 1024
    document_bytes: int = 224 * 1024  # the news made of it also hold the instruments that it names
    frame_bytes: int = 4 * 1024 * 1024
    media_bytes: int = 8 * 1024 * 1024
    ahead_ns: int = 5 * 10**9
    lag_ns: int = 7 * DAY_MS * 10**6
    words_lag_ns: int = 30 * DAY_MS * 10**6


LIMITS = Limits()
Value = (
    Frame
    | Tick
    | Document
    | OrderEvent
    | OrderFrame
    | News
    | TranscriptSegment
    | AudioSegment
    | ChartSnapshot
    | Transfer
    | Statement
    | Score
    | Signal
    | Review
    | Disposition
    | Drift
    | Opening
    | DeadLetter
    | AlertEvent
    | journal.Entry
    | journal.Claim
    | RuleChange
    | Promotion
)
F = TypeVar("F", Frame, OrderFrame)

_TYPES: dict[str, Any] = {
    "ticks": Tick,
    "documents": Document,
    "orders": OrderEvent,
    "news": News,
    "transcripts": TranscriptSegment,
    "audio": AudioSegment,
    "charts": ChartSnapshot,
    "transfers": Transfer,
    "statements": Statement,
    "scores": Score,
    "signals": Signal,
    "reviews": Review,
    "dispositions": Disposition,
    "drift": Drift,
    "market": Opening,
    "deadletters": DeadLetter,
    "alerts": AlertEvent,
    "journal": journal.Entry | journal.Claim,
    "market.journal": journal.Entry | journal.Claim,
    "control": Change,
    "accounts.journal": journal.Entry | journal.Claim,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {topic: msgspec.json.Decoder(of).decode for topic, of in _TYPES.items()}
_WORDS = frozenset({"documents", "news", "transcripts"})
#: What the monitor itself writes: its times are its own.
_OWN = frozenset(
    {
        *("scores", "signals", "drift", "market", "deadletters", "alerts", "journal", "market.journal"),
        *("accounts.journal", "control", "reviews", "dispositions"),
    }
)
#: topic → the record's field that the message's key repeats; no entry: any key will do.
_KEYS = {
    "orders": "instrument",
    "news": "instrument",
    "transcripts": "instrument",
    "audio": "instrument",
    "charts": "instrument",
    "transfers": "account",
    "statements": "account",
    "scores": "instrument",
    "signals": "instrument",
    "reviews": "instrument",
    "dispositions": "episode_id",
    "drift": "subject",
    "deadletters": "topic",
}


def decode(topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, limits: Limits = LIMITS) -> Value:
    """Return the record in a message, or the frame; a single order event is a frame of one row.

    A record that does not say when it became available gets Kafka's timestamp, a frame does so row by row.

    Parameters
    ----------
    topic: its name in `schemas.topics`, without the prefix.
    key, value: the message's, as Kafka gives them.
    timestamp_ms: Kafka's timestamp of the message, ms UTC.
    limits: sizes and distances of times.

    Raises
    ------
    BadMessage: it cannot be used; ``reason`` is one of `REASONS`.
    KeyError: there is no such topic, or its values are no records.

    Example
    -------
    >>> value = b'{"type":"trade","ts_event":1700000000000000000,"instrument":"ACME.XTOC","price":5.0,"size":2.0}'
    >>> decode("ticks", b"ACME.XTOC", value, 1_700_000_000_001).ts_available
    1700000000001000000
    """
    if topic == "ticks":
        return decode_tick(key, value, timestamp_ms, limits)
    codec = BY_NAME[topic].codec
    if codec == "json or arrow":
        codec = "arrow" if value and value.startswith(order_frames.MAGIC) else "json"
    held = _value(value, _most_bytes(topic, codec, limits))
    lag_ns = limits.words_lag_ns if topic in _WORDS else limits.lag_ns
    if codec == "arrow":
        name = _name(key).encode()
        if topic == "orders":
            return _frame_at_its_time(order_frames.decode(held, name), timestamp_ms, lag_ns, limits.ahead_ns)
        return _frame_at_its_time(frames.decode(held, name), timestamp_ms, lag_ns, limits.ahead_ns)
    if codec == "media":
        header, payload = media.split(held)
        record = _record(topic, header)
        if record.payload:
            raise BadMessage("bad_media", "expected the payload after the header, found one in it; send it as bytes")
        record = msgspec.structs.replace(record, payload=payload)
    else:
        record = _record(topic, held)
    field = _KEYS.get(topic)
    if field is not None:
        _match(key, getattr(record, field))
    elif topic == "alerts":
        _match(key, record.data.episode_id)
    if topic not in _OWN:
        _set_time(record, timestamp_ms, lag_ns, limits.ahead_ns)
    if isinstance(record, ChartSnapshot):
        media.check_chart(record)
    elif isinstance(record, AudioSegment):
        media.check_audio(record)
    elif isinstance(record, OrderEvent):
        return order_frames.of_events([record])
    return record  # type: ignore[no-any-return]


_decode_tick: Callable[[bytes], Tick] = msgspec.json.Decoder(Tick).decode


def decode_tick(key: bytes | None, value: bytes | None, timestamp_ms: int, limits: Limits = LIMITS) -> Tick:
    """Return the record in a message of the topic of ticks: what `decode` does, at the speed of a gateway.

    Raises
    ------
    BadMessage: it cannot be used.
    """
    if not value or len(value) > limits.json_bytes:
        _value(value, limits.json_bytes)
    assert value is not None
    try:
        tick = _decode_tick(value)
    except (ValueError, RecursionError):
        tick = _record("ticks", value)
    if key is None or tick.instrument != _name(key):
        _match(key, tick.instrument)
    event, available = tick.ts_event, tick.ts_available
    kafka_ns = timestamp_ms * 1_000_000
    if (
        not available
        or event < EARLIEST_NS
        or kafka_ns > LATEST_NS
        or event - available > limits.ahead_ns
        or available - kafka_ns > limits.ahead_ns
        or available - event > limits.lag_ns
    ):
        _set_time(tick, timestamp_ms, limits.lag_ns, limits.ahead_ns)
    return tick


def encode(record: Value) -> bytes:
    """Return a message's value.

    Raises
    ------
    ValueError: the record holds what no reader would accept, such as a NaN.
    """
    if isinstance(record, Frame):
        return frames.encode(record)
    if isinstance(record, OrderFrame):
        return order_frames.encode(record)
    if isinstance(record, AudioSegment | ChartSnapshot):
        return media.join(_encode(msgspec.structs.replace(record, payload=b"")), record.payload)
    return _encode(record)


_encoder = msgspec.json.Encoder()


def _encode(record: Any) -> bytes:
    value = _encoder.encode(record)
    # msgspec writes NaN and infinity as null, and no record has a null of its own: an absent field is left out.
    if b"null" in value:
        try:
            msgspec.json.decode(value, type=type(record))
        except msgspec.ValidationError as error:
            raise ValueError(
                f"{type(record).__name__}: expected what a reader accepts, found NaN or infinity: {error}"
            ) from None
    return value


def _most_bytes(topic: str, codec: str, limits: Limits) -> int:
    if topic == "documents":
        return limits.document_bytes
    if topic in _OWN:
        return limits.media_bytes  # a dead letter holds the key and the head of whatever was refused
    return {"arrow": limits.frame_bytes, "media": limits.media_bytes}.get(codec, limits.json_bytes)


def _value(value: bytes | None, most: int) -> bytes:
    if not value:
        raise BadMessage("empty", "expected a value, found none; inputs have no tombstones")
    if len(value) > most:
        raise BadMessage("too_large", f"expected at most {most} bytes, found {len(value)}; split the message")
    return value


@lru_cache(maxsize=16_384)
def _name(key: bytes | None) -> str:
    """Return a key as text: an instrument's or account's name."""
    try:
        name = (key or b"").decode()
    except UnicodeDecodeError:
        raise BadMessage("wrong_key", f"expected a key in UTF-8, found {_short(key)}; key by the instrument") from None
    if not 1 <= len(name) <= 128 or not name.isprintable() or " " in name:
        raise BadMessage(
            "wrong_key", f"expected a key of 1 to 128 printable characters, found {_short(key)}; key by the instrument"
        )
    return name


def _match(key: bytes | None, named: str) -> None:
    if _name(key) != named:
        raise BadMessage(
            "wrong_key",
            f"expected the key {named[:64]!r} that the record names, found {_short(key)}; key the message by it",
        )


def _short(key: bytes | None) -> str:
    return repr(key if key is None else key[:64])


def _record(topic: str, value: bytes) -> Any:
    try:
        if not value.isascii():
            value.decode()
        return _DECODERS[topic](value)
    except msgspec.ValidationError as error:
        if topic not in _OWN and b'"ts_' in value:
            return _with_written_times(topic, value, error)
        _refuse(topic, value, error)
    except UnicodeDecodeError as error:
        raise BadMessage(
            "not_utf8", f"expected UTF-8, found byte {error.object[error.start]:#04x}; send JSON in UTF-8"
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse(topic, value, error)


_BOUND = re.compile(r"out of range| of length | [<>]=? ")
_NO_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity|nan|inf)\b")


def _refuse(topic: str, value: bytes, error: Exception) -> NoReturn:
    """Raise the BadMessage that says what msgspec found."""
    found = str(error)[:300]
    remedy = f"compare it with docs/schemas/{topic}.json"
    if isinstance(error, RecursionError):
        raise BadMessage("too_deep", f"expected a flat JSON object, found one nested too deep; {remedy}") from None
    if not isinstance(error, msgspec.ValidationError):
        if _NO_NUMBER.search(value):
            raise BadMessage(
                "not_finite", "expected finite numbers, found NaN or Infinity; leave the message out"
            ) from None
        raise BadMessage("not_json", f"expected one JSON object, found: {found}; {remedy}") from None
    if "missing required field" in found:
        reason = "missing_field"
    elif _BOUND.search(found):
        reason = "out_of_range"
    else:
        reason = "wrong_type"
    raise BadMessage(reason, f"{found}; {remedy}") from None


def _with_written_times(topic: str, value: bytes, error: msgspec.ValidationError) -> Any:
    """Decode a record whose times are written out in ISO 8601, as producers without nanoseconds send them."""
    try:
        raw = msgspec.json.decode(value)
    except (ValueError, RecursionError) as worse:
        _refuse(topic, value, worse)
    written = [n for n in ("ts_event", "ts_available") if isinstance(raw, dict) and isinstance(raw.get(n), str)]
    if not written:
        _refuse(topic, value, error)
    for name in written:
        raw[name] = nanoseconds(name, raw[name])
    try:
        return msgspec.convert(raw, _TYPES[topic])
    except (msgspec.ValidationError, RecursionError) as other:
        _refuse(topic, value, other)


_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|z|[+-]\d\d:?\d\d)?")


def nanoseconds(name: str, text: str) -> int:
    """Return a time written in ISO 8601 as ns UTC, its fraction exact to the nanosecond; ``name`` is for who errs.

    Raises
    ------
    BadMessage: it is none, or has no zone.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise BadMessage(
            "wrong_type",
            f"{name}: expected int64 ns UTC or ISO 8601 with a zone, found {text[:40]!r}; send nanoseconds",
        )
    date, time, fraction, zone = match.groups()
    if zone is None:
        raise BadMessage("no_zone", f"{name}: expected a time with its zone, found {text!r}; append Z where it is UTC")
    try:
        at = datetime.fromisoformat(f"{date}T{time}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadMessage(
            "out_of_range", f"{name}: expected a date and time, found {text!r} ({error}); correct it"
        ) from None
    return int(at.timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))


def _set_time(record: Record, timestamp_ms: int, lag_ns: int, ahead_ns: int) -> None:
    """Give a record that was just decoded its ``ts_available`` where it has none, and check its times."""
    kafka_ns = timestamp_ms * 1_000_000
    available = record.ts_available or kafka_ns
    _check_times(record.ts_event, record.ts_event, available, available, kafka_ns, ahead_ns)
    _check_distance(record.ts_event - available, available - record.ts_event, lag_ns, ahead_ns)
    if not record.ts_available:
        msgspec.structs.force_setattr(record, "ts_available", available)  # nobody else has seen it yet


def _frame_at_its_time(frame: F, timestamp_ms: int, lag_ns: int, ahead_ns: int) -> F:
    kafka_ns = timestamp_ms * 1_000_000
    event, available = frame.ts_event, frame.ts_available
    first = int(available.min())
    if first == 0 and EARLIEST_NS <= kafka_ns <= LATEST_NS:
        available = np.where(available == 0, kafka_ns, available)
        frame = msgspec.structs.replace(frame, ts_available=available)
        first = int(available.min())
    last, first_event, last_event = int(available.max()), int(event.min()), int(event.max())
    _check_times(first_event, last_event, first, last, kafka_ns, ahead_ns)
    # Where even the outermost times lie close enough, no row needs to be looked at.
    if last_event - first > ahead_ns or last - first_event > lag_ns:
        lag = available - event
        _check_distance(-int(lag.min()), int(lag.max()), lag_ns, ahead_ns)
    return frame


def _check_times(
    first_event: int, last_event: int, first_available: int, last_available: int, kafka_ns: int, ahead_ns: int
) -> None:
    earliest = min(first_event, first_available, kafka_ns)
    if earliest < EARLIEST_NS:
        raise BadMessage(
            "too_old",
            f"expected times since 1990 in ns UTC, found {earliest}; if it is in s, ms or µs, send nanoseconds",
        )
    if last_available - kafka_ns > ahead_ns or kafka_ns > LATEST_NS:
        raise BadMessage(
            "from_future",
            f"expected ts_available at most {ahead_ns / 1e9:g} s after Kafka's timestamp {kafka_ns}, "
            f"found {last_available}; check the producer's clock",
        )
    if last_event > LATEST_NS:
        raise BadMessage(
            "from_future", f"expected ts_event before 2200, found {last_event}; check the producer's clock"
        )


def _check_distance(ahead: int, lag: int, lag_ns: int, ahead_ns: int) -> None:
    if ahead > ahead_ns:
        raise BadMessage(
            "from_future",
            f"expected ts_event at most {ahead_ns / 1e9:g} s after ts_available, found {ahead / 1e9:g} s; "
            "check the producer's clock",
        )
    if lag > lag_ns:
        raise BadMessage(
            "too_old",
            f"expected ts_event at most {lag_ns / 8.64e13:g} days before ts_available, found {lag / 8.64e13:g}; "
            "replay history with `tocsin feed`, which keeps ts_available",
        )
