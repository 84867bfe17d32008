"""Feeding: everything arrives, in order a key, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from engines.instruments import SymbolMaster
from engines.simulator.day import Config
from monitor import kafka, simulation
from monitor.errors import StartupError
from monitor.feed import play, shift_to_now, shifted, topics_of, unpacked
from monitor.kafka import partition_for
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.settings import Settings
from schemas import codec, frames, order_frames
from schemas.records import AudioSegment, ChartSnapshot, Document, News, OrderEvent, Tick
from schemas.topics import BY_NAME

SECOND_NS = 10**9
COMPANIES = simulation.companies_of(SymbolMaster.load(), 4)


@pytest.fixture
def settings(broker: str, request: pytest.FixtureRequest) -> Settings:
    return Settings(bootstrap=broker, prefix=f"{request.node.name}.")  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("feed") / "r"
    config = Config(hours=1.0, ticks_a_second=2.0, start=date(2025, 3, 3))
    simulation.write(path, config, COMPANIES)
    return Recording.open(path)


async def read(settings: Settings, topic: str) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return what a topic holds: keys and values of each partition, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        name = settings.prefix + topic
        partitions = [
            TopicPartition(name, p) for p in consumer.partitions_for_topic(name) or await _known(consumer, name)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        held: dict[int, list[tuple[bytes, bytes]]] = {tp.partition: [] for tp in partitions}
        while any(len(held[tp.partition]) < end for tp, end in ends.items()):
            for tp, batch in (await consumer.getmany(timeout_ms=500)).items():
                held[tp.partition] += [(record.key, record.value) for record in batch]
        return held
    finally:
        await consumer.stop()


async def _known(consumer: AIOKafkaConsumer, name: str) -> set[int]:
    await consumer._client._wait_on_metadata(name)
    found: set[int] = consumer.partitions_for_topic(name)
    return found


def by_key(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    held: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value in pairs:
        held[key].append(value)
    return held


async def test_everything_arrives_in_order_of_each_key(settings: Settings, recording: Recording) -> None:
    await kafka.create_topics(settings)
    seen: list[tuple[str, int, int]] = []
    played = await play(
        recording,
        settings,
        speed=None,
        on_delivered=lambda message, topic, partition, offset, sent_s: seen.append((topic, partition, offset)),
    )
    assert (played.position, played.sent, played.stopped) == (recording.rows(), recording.rows(), False)
    assert len(set(seen)) == len(seen) == recording.rows()
    for topic in recording.topics:
        held = await read(settings, topic)
        sent = by_key([(m.key, m.value) for m in recording.messages([topic])])
        assert by_key([pair for pairs in held.values() for pair in pairs]) == sent
        for partition, pairs in held.items():
            of = 1 if BY_NAME[topic].partitions == 1 else len(held)
            assert all(partition_for(key.decode(), of) == partition for key, _ in pairs)


async def test_a_stopped_feed_says_where_and_goes_on_there(settings: Settings, recording: Recording) -> None:
    await kafka.create_topics(settings)
    stop = asyncio.Event()

    def stop_at_300(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            stop.set()

    left = 300
    first = await play(recording, settings, speed=None, stop=stop, on_delivered=stop_at_300)
    assert first.stopped
    assert 300 <= first.position < recording.rows()
    assert first.sent == first.position
    second = await play(recording, settings, speed=None, start=first.position)
    assert first.sent + second.sent == recording.rows()
    held = await read(settings, "frames")
    values = sorted(value for pairs in held.values() for _, value in pairs)
    assert values == sorted(m.value for m in recording.messages(["frames"]))


async def test_raw_sends_single_ticks_and_each_document_once(settings: Settings, recording: Recording) -> None:
    await kafka.create_topics(settings)
    await play(recording, settings, speed=None, topics=["frames", "news"], raw=True)
    now_ms = time.time_ns() // 10**6
    ticks = [pair for pairs in (await read(settings, "ticks")).values() for pair in pairs]
    rows = sum(len(frames.decode(m.value, m.key)) for m in recording.messages(["frames"]))
    assert len(ticks) == rows
    for key, value in ticks[:2_000]:
        assert isinstance(codec.decode("ticks", key, value, now_ms), Tick)
    documents = [pair for pairs in (await read(settings, "documents")).values() for pair in pairs]
    decoded = [codec.decode("documents", key, value, now_ms) for key, value in documents]
    assert all(isinstance(document, Document) for document in decoded)
    ids = [document.document_id for document in decoded]  # type: ignore[union-attr]
    news = [codec.decode("news", m.key, m.value, m.timestamp_ms) for m in recording.messages(["news"])]
    assert sorted(ids) == sorted({item.document_id for item in news if isinstance(item, News)})


async def test_gaps_take_their_time_divided_by_the_speed(settings: Settings, tmp_path: Path) -> None:
    await kafka.create_topics(settings)
    with RecordingWriter(tmp_path / "r", source="test") as writer:
        for at_s in (0, 30, 60):
            ns = (1_740_000_000 + at_s) * SECOND_NS
            news = News(ts_event=ns, ts_available=ns, instrument="market", document_id=str(at_s), headline="x")
            writer.append(Message("news", b"market", codec.encode(news), ns, ns, ns // 10**6))
    sent: list[float] = []
    await play(
        Recording.open(tmp_path / "r"),
        settings,
        speed=100.0,
        on_delivered=lambda m, t, p, o, sent_s: sent.append(sent_s),
    )
    assert np.diff(sent) == pytest.approx([0.3, 0.3], abs=0.15)


async def test_restamped_times_keep_their_gaps_and_never_lead_the_clock(
    settings: Settings, recording: Recording
) -> None:
    await kafka.create_topics(settings)
    await play(recording, settings, speed=None, topics=["frames"], restamp=True)
    now_ns = time.time_ns()
    pairs = [pair for pairs in (await read(settings, "frames")).values() for pair in pairs]
    moved = {(f.instrument, int(f.ts_available[-1])) for f in (frames.decode(v, k) for k, v in pairs)}
    there = {(m.key.decode(), m.ts_available) for m in recording.messages(["frames"])}
    shift_ns = max(at for _, at in moved) - max(at for _, at in there)
    assert moved == {(name, at + shift_ns) for name, at in there}
    assert now_ns - 60 * SECOND_NS < max(at for _, at in moved) <= now_ns


def test_at_its_own_pace_a_restamped_recording_begins_now() -> None:
    assert shift_to_now(1_000, 5_000, 1.0, 90_000) == 89_000
    assert 1_000 + shift_to_now(1_000, 5_000, 1.0, 90_000) == 90_000


def test_faster_it_ends_when_the_clock_gets_there() -> None:
    shift = shift_to_now(1_000, 5_000, 4.0, 90_000)  # takes 1,000 ns
    assert 5_000 + shift == 91_000


def test_slower_it_begins_now_too() -> None:
    assert shift_to_now(1_000, 5_000, 0.5, 90_000) == 89_000


def test_every_record_is_moved_whole(recording: Recording) -> None:
    topics = set()
    for message in recording.messages():
        moved = shifted(message, 10 * SECOND_NS)
        before, after = (codec.decode(m.topic, m.key, m.value, m.ts_available // 10**6 + 1) for m in (message, moved))
        assert moved.ts_available == message.ts_available + 10 * SECOND_NS
        assert np.all(np.asarray(after.ts_event) - np.asarray(before.ts_event) == 10 * SECOND_NS)
        assert np.all(np.asarray(after.ts_available) - np.asarray(before.ts_available) == 10 * SECOND_NS)
        if isinstance(before, AudioSegment | ChartSnapshot) and isinstance(after, AudioSegment | ChartSnapshot):
            assert after.payload == before.payload
        topics.add(message.topic)
    assert topics == {"frames", "orders", "news", "transcripts", "audio", "charts", "transfers"}


def test_an_order_frame_is_moved_whole_and_unpacked() -> None:
    event = OrderEvent(
        ts_event=7 * SECOND_NS, ts_available=8 * SECOND_NS, instrument="A.X", order_id="1", action="new", side="buy",
        price=5.0, size=2.0, account="a",
    )  # fmt: skip
    later = msgspec.structs.replace(event, ts_event=9 * SECOND_NS, ts_available=9 * SECOND_NS, action="cancel")
    value = codec.encode(order_frames.of_events([event, later]))
    message = Message("orders", b"A.X", value, later.ts_event, later.ts_available, 9_000)
    moved = shifted(message, SECOND_NS)
    frame = order_frames.decode(moved.value, moved.key)
    assert (frame.ts_event.tolist(), frame.ts_available.tolist()) == ([8 * 10**9, 10 * 10**9], [9 * 10**9, 10 * 10**9])
    assert (moved.ts_available, frame.accounts) == (10 * SECOND_NS, ("a",))
    singles = list(unpacked([(3, message)]))
    assert [(number, one.topic) for number, one in singles] == [(3, "orders"), (3, "orders")]
    assert [msgspec.json.decode(one.value, type=OrderEvent) for _, one in singles] == [event, later]


def test_a_recording_of_both_is_fed_one_of_them(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r", source="test") as writer:
        for topic in ("ticks", "documents", "frames", "news", "orders", "journal", "alerts"):
            assert topic in BY_NAME
            writer.append(Message(topic, b"k", b"v", SECOND_NS, SECOND_NS, 1_000))
    recording = Recording.open(tmp_path / "r")
    assert topics_of(recording) == ("frames", "orders", "news")
    assert topics_of(recording, raw=True) == ("orders", "ticks", "documents")


async def test_a_missing_topic_is_said_before_anything_is_sent(settings: Settings, recording: Recording) -> None:
    with pytest.raises(StartupError, match="run `tocsin topics create`"):
        await play(recording, settings, speed=None)


async def test_no_broker_is_one_sentence(recording: Recording) -> None:
    nowhere = Settings(bootstrap="127.0.0.1:9", prefix="x.")  # type: ignore[call-arg]
    with pytest.raises(StartupError, match=r"No Kafka broker answers at 127\.0\.0\.1:9"):
        await play(recording, nowhere, speed=None)
