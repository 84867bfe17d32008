"""What leaves a lane: alerts, scores, signals, drift, reviews, openings, dead letters, checkpoints, in its own batches.

Building the record batch here costs a tenth of handing the producer one message at a time. Deliveries are awaited by
the checkpoint that follows them, and a failed one ends the lane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec
from aiokafka import AIOKafkaProducer

from monitor.checkpoints import to_broker
from monitor.sealing import Seal
from schemas.alerts import Activity, Alert, AlertEvent
from schemas.records import DeadLetter, Drift, Opening, Review, Score, Signal
from schemas.topics import MARKET

T = TypeVar("T")

#: Batches that may be on their way before a lane waits for the oldest.
IN_FLIGHT = 64
#: Key, value, headers.
Outgoing = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
_PLAIN: list[tuple[str, bytes]] = []
_UNSEALED = Seal()
_encode = msgspec.json.Encoder().encode
_TYPES: dict[Activity, Literal["io.tocsin.alert.create", "io.tocsin.alert.update", "io.tocsin.alert.close"]] = {
    "create": "io.tocsin.alert.create",
    "update": "io.tocsin.alert.update",
    "close": "io.tocsin.alert.close",
}


@dataclass(slots=True)
class Effects:
    """What one turn says to the outside."""

    alerts: list[Alert] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def add(self, output: object) -> None:
        """Take what has a topic of what agents say."""
        match output:
            case Alert():
                self.alerts.append(output)
            case Score():
                self.scores.append(output)
            case Signal():
                self.signals.append(output)
            case Review():
                self.reviews.append(output)
            case Drift():
                self.drift.append(output)
            case Opening():
                self.openings.append(output)
            case DeadLetter():
                self.dead_letters.append(output)


def rfc3339(ns: int) -> str:
    """Return a time in ns UTC as RFC 3339 with nine digits of a second."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction:09d}Z"


def source_of(prefix: str, stage: str, partition: int) -> str:
    """Return what the alerts of a stage's partition name as their source: two stages write to one partition."""
    return f"/{prefix.rstrip('.')}/{stage}/{partition}"


def sources_of(prefix: str, stage: str, partition: int) -> set[str]:
    """Return all that the alerts of a stage's partition may name as their source.

    0.1.0 had one stage, and did not name it; what it sent must still be recognised by who recovers from it.
    """
    unnamed = {f"/{prefix.rstrip('.')}/{partition}"} if stage == "instrument" else set()
    return unnamed | {source_of(prefix, stage, partition)}


def event_of(alert: Alert, source: str) -> AlertEvent:
    """Put an alert in its CloudEvents envelope."""
    return AlertEvent(
        id=alert.alert_id,
        source=source,
        type=_TYPES[alert.activity],
        subject=alert.subject.instrument,
        time=rfc3339(alert.times.available_at),
        data=alert,
    )


def _headers(alert: Alert) -> list[tuple[str, bytes]]:
    trace = alert.provenance.trace
    return [("traceparent", trace.encode())] if trace else []


class Outbox:
    """One lane's way out.

    ``source`` is what its alerts name as theirs, ``checkpoints`` the topic of its own; ``seal`` closes dead letters.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        prefix: str,
        source: str,
        checkpoints: str,
        partition: int,
        seal: Seal = _UNSEALED,
        wall: Callable[[], int] = time.time_ns,
        on_alert: Callable[[Alert], None] | None = None,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        on_scores: Callable[[Sequence[Score]], None] | None = None,
        on_signals: Callable[[Sequence[Signal]], None] | None = None,
        on_reviews: Callable[[Sequence[Review]], None] | None = None,
        on_drift: Callable[[Sequence[Drift]], None] | None = None,
    ) -> None:
        self._producer = producer
        self._prefix = prefix
        self._source = source
        self._checkpoints = checkpoints
        self._partition = partition
        self._seal = seal
        self._wall = wall
        self._on_alert = on_alert
        self._on_dead_letter = on_dead_letter
        self._on_scores = on_scores
        self._on_signals = on_signals
        self._on_reviews = on_reviews
        self._on_drift = on_drift
        self._pending: list[asyncio.Future[object]] = []
        self.alerts_end = 0

    async def send(self, effects: Effects) -> None:
        """Send a turn's effects; their deliveries are in `take_pending`."""
        if effects.alerts:
            now_ns = self._wall()
            timed = [
                msgspec.structs.replace(alert, times=msgspec.structs.replace(alert.times, detected_at=now_ns))
                for alert in effects.alerts
            ]
            await self._send(
                "alerts", [(a.episode_id.encode(), _encode(event_of(a, self._source)), _headers(a)) for a in timed]
            )
            if self._on_alert:
                for alert in timed:
                    self._on_alert(alert)
        await self._tell("scores", effects.scores, lambda score: score.instrument, self._on_scores)
        await self._tell("signals", effects.signals, lambda signal: signal.instrument, self._on_signals)
        await self._tell("reviews", effects.reviews, lambda review: review.instrument, self._on_reviews)
        await self._tell("drift", effects.drift, lambda drift: drift.subject, self._on_drift)
        if effects.openings:
            # One partition, whatever the lane's own: there they all meet.
            told = [(MARKET.encode(), _encode(opening), _PLAIN) for opening in effects.openings]
            self._pending += await self._batches("market", told, partition=0)
        for letter in effects.dead_letters:
            value, key = _encode(self._seal.close(letter)), letter.topic.encode()
            self._pending.append(await self._producer.send(f"{self._prefix}deadletters", value, key=key))
            if self._on_dead_letter:
                self._on_dead_letter(letter)
        await self._settle()

    async def write_checkpoint(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        """Write checkpoint records, wait until they are delivered, and return the offset of the first."""
        futures = await self._batches(self._checkpoints, ((key, *to_broker(value)) for key, value in records))
        first, *_ = await asyncio.gather(*futures)
        return int(first.offset)  # type: ignore[attr-defined]

    async def flush(self) -> None:
        """Wait until all that was sent so far has arrived."""
        await self._producer.flush()

    def take_pending(self) -> list[Awaitable[object]]:
        """Return the deliveries that have not been awaited yet; the caller awaits them."""
        pending, self._pending = self._pending, []
        return list(pending)

    async def _tell(
        self, topic: str, records: Sequence[T], key: Callable[[T], str], on_sent: Callable[[Sequence[T]], None] | None
    ) -> None:
        if records:
            await self._send(topic, [(key(record).encode(), _encode(record), _PLAIN) for record in records])
            if on_sent:
                on_sent(records)

    async def _send(self, topic: str, records: Iterable[Outgoing]) -> None:
        futures = await self._batches(topic, records)
        if topic == "alerts":
            for future in futures:
                future.add_done_callback(self._delivered)
        self._pending += futures

    def _delivered(self, future: asyncio.Future[object]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.alerts_end = max(self.alerts_end, future.result().offset + 1)  # type: ignore[attr-defined]

    async def _batches(
        self, topic: str, records: Iterable[Outgoing], partition: int | None = None
    ) -> list[asyncio.Future[object]]:
        name, partition = self._prefix + topic, self._partition if partition is None else partition
        # Processing time: retention goes by it, and what a replayed year says must not be deleted at once.
        timestamp_ms = self._wall() // 1_000_000
        futures: list[asyncio.Future[object]] = []
        batch = self._producer.create_batch()
        for key, value, headers in records:
            if batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
                futures.append(await self._producer.send_batch(batch, name, partition=partition))
                batch = self._producer.create_batch()
                if batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
                    raise ValueError(f"a record of {len(value or b'')} bytes for {name} is larger than a batch may be")
        if batch.record_count():
            futures.append(await self._producer.send_batch(batch, name, partition=partition))
        return futures

    async def _settle(self) -> None:
        """Wait where too much is on its way; a delivery that failed is raised here."""
        while len(self._pending) > IN_FLIGHT:
            await self._pending[0]
            for future in self._pending:
                if future.done():
                    future.result()
            self._pending = [future for future in self._pending if not future.done()]
