"""From a message to what agents are fed: decoded or refused, then taken at its place in the order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import cast

from agents.flow import Arrival, Value
from engines.tracks import Embedding
from monitor.pseudonyms import Pseudonyms
from monitor.sequencer import Pending, Taken
from schemas import codec
from schemas.errors import BadMessage
from schemas.order_frames import AnyFrame
from schemas.pseudonyms import NAMING
from schemas.records import AudioSegment, ChartSnapshot, DeadLetter

KEPT_BYTES = 65_536
KEY_BYTES = 1_024
#: Headers go into records of ours: what a producer puts there must not make one that no topic takes.
HEADER_BYTES = 4_096
#: What is said of a message that cannot be used where its topic names accounts: what would be quoted may be one.
UNTOLD = "what was expected and found is not told of a topic that names accounts; the message itself is sealed"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, version 00


def pending(topic: str, offset: int, key: bytes, value: bytes, timestamp_ms: int, headers: dict[str, str]) -> Pending:
    """Return a message of ``topic`` (without prefix), decoded, or with the reason why it cannot be used."""
    try:
        record = cast(Value, codec.decode(topic, key, value, timestamp_ms))
    except BadMessage as refusal:
        return refused(offset, key, value, timestamp_ms, headers, refusal)
    sha256 = hashlib.sha256(value).digest()
    available_ns = int(record.ts_available.max()) if isinstance(record, AnyFrame) else record.ts_available
    media = isinstance(record, ChartSnapshot | AudioSegment)
    return Pending(
        offset,
        key.decode(),
        available_ns,
        record,
        sha256,
        # Its decoder has not seen it yet: what a dead letter would keep of it is kept.
        raw=(key, value[:KEPT_BYTES]) if media else (b"", b""),
        size=len(value),
        headers=headers,
        sent_ms=timestamp_ms,
    )


def named(
    names: Pseudonyms | None,
    topic: str,
    offset: int,
    key: bytes,
    value: bytes,
    timestamp_ms: int,
    headers: dict[str, str],
) -> Pending:
    """Return what `pending` does, with pseudonyms in the place of accounts; a dead letter seals what came."""
    if names is None or topic not in NAMING:
        return pending(topic, offset, key, value, timestamp_ms, headers)
    rewritten = names.message(topic, key, value)
    found = pending(topic, offset, *(rewritten or (key, value)), timestamp_ms, headers)
    if rewritten is None or found.value is None:
        reason = found.refusal[0] if found.refusal else "wrong_type"
        return refused(offset, key, value, timestamp_ms, headers, BadMessage(reason, UNTOLD))
    names.reached(found.ts_available)
    return found


def refused(
    offset: int, key: bytes, value: bytes, timestamp_ms: int, headers: dict[str, str], refusal: BadMessage
) -> Pending:
    """Return a message that cannot be used, with the reason."""
    return Pending(
        offset=offset,
        key="",
        # Taken at its turn: a time that nobody vouches for moves no clock and holds nobody up.
        ts_available=0,
        value=None,
        refusal=(refusal.reason, refusal.detail),
        raw=(key, value),
        size=len(value),
        headers=headers,
        sent_ms=timestamp_ms,
    )


def header_texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return a message's headers as text; of several with one name the last."""
    return {name: value.decode("utf-8", "replace") for name, value in headers if value is not None}


def arrival(taken: Taken, partition: int, ordinal: int, embedding: Embedding | None, *, again: bool = False) -> Arrival:
    """Return what agents are fed of a message that could be used; ``again`` where a part of it came before."""
    message = taken.message
    assert message.value is not None
    return Arrival(
        topic=taken.topic,
        partition=partition,
        offset=message.offset,
        key=message.key,
        ts_available=message.ts_available,
        ordinal=ordinal,
        value=message.value,
        sha256=message.sha256,
        embedding=embedding,
        trace=trace_of(message.headers),
        again=again,
    )


def trace_of(headers: Mapping[str, str]) -> str:
    """Return the trace to which a message belongs by its headers (W3C Trace Context), "" where they name none."""
    trace = headers.get("traceparent", "")
    return trace if _TRACEPARENT.fullmatch(trace) else ""


def kept_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers that a dead letter keeps: those that fit `HEADER_BYTES` together, in their order."""
    kept, left = {}, HEADER_BYTES
    for name, value in headers.items():
        size = len(name.encode()) + len(value.encode())
        if size <= left:
            kept[name] = value
            left -= size
    return kept


def dead_letter(taken: Taken, partition: int) -> DeadLetter:
    """Return the dead letter of a message that was refused."""
    message = taken.message
    assert message.refusal is not None
    # Kafka takes -1 for "no time", and times that a record of ours cannot hold.
    sent_ns = min(max(0, message.sent_ms) * 1_000_000, 2**63 - 1)
    key, value = message.raw
    return DeadLetter(
        ts_event=sent_ns,
        ts_available=sent_ns,
        topic=taken.topic,
        partition=partition,
        offset=message.offset,
        reason=message.refusal[0],
        detail=message.refusal[1],
        key=key[:KEY_BYTES],
        value=value[:KEPT_BYTES],
        size=message.size,
        headers=kept_headers(message.headers),
    )
