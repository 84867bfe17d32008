"""What a live daemon would leave behind, without a broker: topics in partitions, journals, and the alerts it sent.

Each partition is a lane of its own; messages reach it a few at a time, some topics behind others, as fetches do, so
that the journal's order is not the canonical one. What opens reaches the market's partition as the lanes get on.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from agents.flow import Item, modality_of
from monitor import kafka
from monitor.arrivals import arrival, header_texts, pending
from monitor.outbox import event_of, source_of
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message
from monitor.sequencer import Sequencer
from monitor.stage import Stages
from monitor.state import StateTable
from monitor.worker import Stage
from schemas import codec, journal
from schemas.alerts import Alert
from schemas.journal import Claim, Clock, Entry, Ladder, Step
from schemas.records import Opening
from schemas.topics import MARKET, MARKET_INPUTS
from tests.integration import test_daemon

_AT_A_TIME = 40


@dataclass
class Live:
    """What was sent, and what stands in every topic, by (topic, partition)."""

    alerts: list[Alert] = field(default_factory=list)
    #: How many messages were applied after a later one.
    overtaken: int = 0
    topics: dict[tuple[str, int], list[Message]] = field(default_factory=lambda: defaultdict(list))

    def put(self, topic: str, partition: int, key: bytes, value: bytes, ts: tuple[int, int, int]) -> None:
        held = self.topics[topic, partition]
        held.append(Message(topic, key, value, *ts, partition, len(held)))

    def record(self, path: Path, *, without: Sequence[str] = ()) -> Path:
        """Write all of it as `tocsin record` would."""
        rows = [m for (topic, _), held in self.topics.items() if topic not in without for m in held]
        with RecordingWriter(path, source="capture") as writer:
            for message in sorted(rows, key=lambda m: (m.topic, m.ts_available, m.partition, m.offset)):
                writer.append(message)
        return path


def live(stages: Stages, messages: Sequence[Message], partitions: int, seed: int = 0) -> Live:
    """Send messages to the daemon's stages in so many partitions, and return what they leave behind."""
    found = Live()
    rng = random.Random(seed)
    for m in messages:
        place = 0 if m.topic in stages.account.topics else kafka.partition_for(m.key.decode(), partitions)
        found.put(m.topic, place, m.key, m.value, (m.ts_event, m.ts_available, m.timestamp_ms))
    openings: list[Opening] = []
    for partition in range(partitions):
        inputs = {topic: list(found.topics[topic, partition]) for topic in stages.instrument.topics}
        openings += asyncio.run(_lane(found, stages.instrument, partition, inputs, rng))
    asyncio.run(_lane(found, stages.account, 0, {t: list(found.topics[t, 0]) for t in stages.account.topics}, rng))
    # Lanes get on side by side: what one tells comes among what the others do, each in its own order.
    by_lane: dict[int, list[Opening]] = defaultdict(list)
    for opening in openings:
        by_lane[kafka.partition_for(opening.instrument, partitions)].append(opening)
    while waiting := [lane for lane in by_lane.values() if lane]:
        opening = rng.choice(sorted(waiting, key=lambda lane: lane[0].ts_available)[:2]).pop(0)
        ts = opening.ts_available
        found.put(MARKET_INPUTS[0], 0, MARKET.encode(), codec.encode(opening), (ts, ts, ts // 1_000_000 + 1))
    asyncio.run(_lane(found, stages.market, 0, {MARKET_INPUTS[0]: list(found.topics[MARKET_INPUTS[0], 0])}, rng))
    return found


async def _lane(
    found: Live, stage: Stage, partition: int, inputs: dict[str, list[Message]], rng: random.Random
) -> list[Opening]:
    sequencer = Sequencer(stage.topics, overtake_ns=0)
    openings: list[Opening] = []
    journalled = found.topics[stage.journal, partition]

    def write(record: Any) -> None:
        stamp = 1_700_000_000_000_000_000 + len(journalled) * 1_000_000
        value = journal.encode(record)
        found.put(stage.journal, partition, b"entry", value, (stamp, stamp, stamp // 1_000_000))

    write(Claim("test"))
    ordinal = 0

    async def items() -> AsyncIterator[Item]:
        nonlocal ordinal
        latest_ns = 0
        yield Ladder(0, "as it was")
        entry(0, [stage.decides])
        unread = {topic: list(held) for topic, held in inputs.items()}
        while any(unread.values()) or any(sequencer.buffers.values()):
            for topic, held in unread.items():
                for m in held[: (count := rng.randint(0, _AT_A_TIME))]:
                    found_ = pending(m.topic, m.offset, m.key, m.value, m.timestamp_ms, header_texts(m.headers))
                    sequencer.push(topic, found_)
                del held[:count]
            # A topic that was read empty counts as idle, though it is behind.
            idle = [topic for topic in stage.topics if not unread[topic] or rng.random() < 0.05]
            steps, taken = sequencer.take(idle, limit=100)
            if steps:
                entry(ordinal, steps)
            for one in taken:
                if isinstance(one, Clock):
                    yield one
                    continue
                ordinal += 1
                found.overtaken += one.message.ts_available < latest_ns
                latest_ns = max(latest_ns, one.message.ts_available)
                if (value := one.message.value) is not None:
                    encode = stage.encoders.get(modality_of(value))
                    yield arrival(one, partition, ordinal, None if encode is None else encode(value))

    def entry(first: int, steps: Sequence[Step]) -> None:
        write(Entry(0, first, list(steps)))

    table: StateTable[Any] = StateTable()
    async for output in stage.agent(items(), table):
        if isinstance(output, Opening):
            openings.append(output)
        elif isinstance(output, Alert):
            alert = msgspec.structs.replace(
                output, provenance=msgspec.structs.replace(output.provenance, mode="live", run_id="live")
            )
            found.alerts.append(alert)
            event = event_of(alert, source_of("tocsin.", stage.name, partition))
            ts = alert.times.available_at
            key, value = alert.episode_id.encode(), msgspec.json.encode(event)
            found.put("alerts", partition, key, value, (alert.times.event_end, ts, ts // 1_000_000))
    return openings


def crowd(instruments: int) -> list[Message]:
    """Return an hour of trades in frames of half a minute, at whose end all the instruments jump within seconds."""
    return [
        replace(message, timestamp_ms=message.ts_available // 1_000_000 + 1)
        for message in test_daemon.crowd(instruments)
    ]
