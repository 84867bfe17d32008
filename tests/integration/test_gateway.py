from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from structlog.testing import capture_logs

from engines.instruments import SymbolMaster
from monitor import kafka
from monitor.gateway import Gateway
from monitor.settings import Settings
from schemas import codec
from schemas.frames import Frame
from schemas.records import DeadLetter, Document, News, Trade
from tests.integration.kafka import Broker, free_port, messages_of

NAMES = [f"S{number:02d}.XTOC" for number in range(12)]
T0 = 1_790_000_000_000_000_000
#: What only a hang exceeds: beside ten other busy processes a gateway takes longer than 20 s to start.
HANGS_S = 90.0


def tick(number: int) -> Trade:
    at = T0 + number * 1_000_000
    return Trade(
        ts_event=at, ts_available=at, instrument=NAMES[number % len(NAMES)], price=100.0, size=1.0 + number,
        trade_id=str(number + 1),
    )  # fmt: skip


async def send_ticks(settings: Settings, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap, linger_ms=2) as producer:
        topic = kafka.full_name(settings.prefix, "ticks")
        sent = []
        for number in numbers:
            one = tick(number)
            # The timestamp is a tick's own: what it says must not lie in Kafka's future.
            sent.append(
                await producer.send(
                    topic, msgspec.json.encode(one), key=one.instrument.encode(), timestamp_ms=one.ts_event // 1_000_000
                )
            )
        await asyncio.gather(*sent)  # what the broker did not take is the test's own failure


async def read_all(settings: Settings, topic: str) -> list[tuple[codec.Value, dict[str, bytes]]]:
    records = await messages_of(settings, topic)
    return [(codec.decode(topic, r.key, r.value, r.timestamp), dict(r.headers)) for r in records]


async def delivered(settings: Settings) -> list[Frame]:
    return [value for value, _ in await read_all(settings, "frames") if isinstance(value, Frame)]


def trade_ids(frames: list[Frame]) -> list[int]:
    return [number for frame in frames for number in frame.trade_id.tolist()]


def taken_by_the_daemon(frames: list[Frame]) -> list[int]:
    """Return the trade ids that are left when, for each instrument, no offset is taken that is not beyond the last."""
    last: dict[str, int] = defaultdict(lambda: -1)
    taken = []
    for frame in frames:
        for offset, number in zip(frame.source_offset.tolist(), frame.trade_id.tolist(), strict=True):
            if offset > last[frame.instrument]:
                last[frame.instrument] = offset
                taken.append(number)
    return taken


async def until(condition: Callable[[list[Frame]], bool], settings: Settings) -> list[Frame]:
    frames: list[Frame] = []
    try:
        async with asyncio.timeout(HANGS_S):
            while not condition(frames := await delivered(settings)):
                await asyncio.sleep(0.05)
    except TimeoutError:
        there = sorted(set(trade_ids(frames)))
        pytest.fail(
            f"after {HANGS_S:g} s {len(there)} different ticks are in frames, {there[:1]} to {there[-1:]};"
            f" {await committed(settings)} are acknowledged"
        )
    return frames


async def acknowledged(ticks: int, settings: Settings, log: Path) -> None:
    try:
        async with asyncio.timeout(HANGS_S):
            while await committed(settings) < ticks:
                await asyncio.sleep(0.1)
    except TimeoutError:
        async with kafka.reader(settings) as reader:
            ends = await kafka.end_offsets(reader, kafka.full_name(settings.prefix, "ticks"), range(4))
        pytest.fail(
            f"after {HANGS_S:g} s {await committed(settings)} of {ticks} ticks are acknowledged, the topic ends at"
            f" {ends}; the gateway said:\n{log.read_text()}"
        )


async def committed(settings: Settings, topics: tuple[str, ...] = (".ticks",)) -> int:
    async with kafka.admin(settings) as client:
        offsets = await client.list_consumer_group_offsets(f"{settings.group}-gateway")
    return sum(max(0, held.offset) for tp, held in offsets.items() if tp.topic.endswith(topics))


@contextmanager
def gateway_process(settings: Settings, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    given = {f"TOCSIN_{k.upper()}": str(v) for k, v in settings.model_dump(exclude_defaults=True).items()}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", "gateway"],
            env=os.environ | given | {f"TOCSIN_{k.upper()}": v for k, v in environment.items()},
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def has_joined(log: Path) -> bool:
    return log.exists() and b"partitions assigned" in log.read_bytes()


async def assigned(log: Path) -> None:
    async with asyncio.timeout(HANGS_S):
        while not has_joined(log):
            await asyncio.sleep(0.05)


def terminate(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=HANGS_S)


@pytest.mark.parametrize("broker_kind", ["embedded", pytest.param("kafka", marks=pytest.mark.integration)])
async def test_ticks_become_frames_and_documents_reach_the_instruments_they_name(
    broker_kind: str, request: pytest.FixtureRequest, settings_of: Callable[..., Settings]
) -> None:
    settings = await asyncio.to_thread(settings_of, request.getfixturevalue(broker_kind))
    gateway = Gateway(settings, SymbolMaster.load())
    running = asyncio.create_task(gateway.run())
    await send_ticks(settings, range(100))
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        ticks = kafka.full_name(settings.prefix, "ticks")
        bad = await producer.send_and_wait(ticks, b'{"type":"trade"', key=b"S00.XTOC", headers=[("feed", b"x")])
        headline = "Acme Robotics sues Boreal Energy"
        document = Document(ts_event=T0, ts_available=T0, document_id="d1", headline=headline)
        await producer.send_and_wait(
            kafka.full_name(settings.prefix, "documents"), msgspec.json.encode(document), timestamp_ms=T0 // 1_000_000
        )
    await send_ticks(settings, range(100, 200))
    await until(lambda frames: len(trade_ids(frames)) >= 200, settings)
    gateway.stop()
    await running

    read = await read_all(settings, "frames")
    frames = [value for value, _ in read if isinstance(value, Frame)]
    assert sorted(trade_ids(frames)) == list(range(1, 201))
    assert sorted(taken_by_the_daemon(frames)) == list(range(1, 201))
    for frame, headers in read:
        assert isinstance(frame, Frame)
        assert headers["source"] == f"ticks/{kafka.partition_for(frame.instrument, 4)}".encode()
        assert len(headers["traceparent"]) == 55

    news = [value for value, _ in await read_all(settings, "news") if isinstance(value, News)]
    assert {(item.instrument, item.document_id) for item in news} == {("ACME.XTOC", "d1"), ("BOREAL.XTOC", "d1")}

    ((letter, _),) = await read_all(settings, "deadletters")
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == ("ticks", bad.partition, bad.offset)
    assert (letter.reason, letter.value, letter.key) == ("not_json", b'{"type":"trade"', b"S00.XTOC")
    assert letter.headers == {"feed": "x"}

    if broker_kind == "kafka":
        assert await committed(settings) == 201


@pytest.mark.integration
async def test_sigterm_delivers_what_was_read_and_ends_with_zero(topics: Settings, tmp_path: Path) -> None:
    # Frames of a minute: nothing would leave in time without the drain.
    with gateway_process(topics, tmp_path / "log", frame_ms="240000") as process:
        await send_ticks(topics, range(50))
        await assigned(tmp_path / "log")
        await asyncio.sleep(1.0)
        assert await delivered(topics) == []
        assert await asyncio.to_thread(terminate, process) == 0

    assert sorted(trade_ids(await delivered(topics))) == list(range(1, 51))
    assert await committed(topics) == 50


@pytest.mark.integration
@pytest.mark.faults
async def test_killed_between_delivery_and_commit_it_sends_again_under_the_same_offsets(
    topics: Settings, tmp_path: Path
) -> None:
    with gateway_process(topics, tmp_path / "log") as process:
        sending = asyncio.create_task(send_ticks(topics, range(3_000)))
        await until(lambda frames: len(trade_ids(frames)) > 300, topics)
        process.kill()
        process.wait()
        await sending
    first = trade_ids(await delivered(topics))
    assert await committed(topics) < len(first)

    with gateway_process(topics, tmp_path / "log") as process:
        await acknowledged(3_000, topics, tmp_path / "log")
        assert await asyncio.to_thread(terminate, process) == 0

    frames = await delivered(topics)
    assert len(trade_ids(frames)) > 3_000
    assert sorted(taken_by_the_daemon(frames)) == list(range(1, 3_001))


@pytest.mark.integration
@pytest.mark.faults
async def test_gateways_that_come_and_go_lose_nothing(topics: Settings, tmp_path: Path) -> None:
    with gateway_process(topics, tmp_path / "a") as one, gateway_process(topics, tmp_path / "b") as two:
        for start in range(0, 4_000, 1_000):
            await send_ticks(topics, range(start, start + 1_000))
            await assigned(tmp_path / "a")
            await assigned(tmp_path / "b")
            if start == 1_000:
                assert await asyncio.to_thread(terminate, one) == 0
        await until(lambda frames: set(trade_ids(frames)) == set(range(1, 4_001)), topics)
        assert await asyncio.to_thread(terminate, two) == 0

    assert sorted(taken_by_the_daemon(await delivered(topics))) == list(range(1, 4_001))
    assert await committed(topics) == 4_000


@pytest.mark.integration
@pytest.mark.faults
@pytest.mark.slow
async def test_a_broker_that_dies_and_returns_costs_nothing(
    broker: Broker, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = await asyncio.to_thread(settings_of, broker.bootstrap)
    with gateway_process(settings, tmp_path / "log") as process:
        sending = asyncio.create_task(send_ticks(settings, range(5_000)))
        await until(lambda frames: len(trade_ids(frames)) > 200, settings)
        await asyncio.to_thread(broker.restart)
        await sending
        await until(lambda frames: set(trade_ids(frames)) == set(range(1, 5_001)), settings)
        assert await asyncio.to_thread(terminate, process) == 0

    assert sorted(set(taken_by_the_daemon(await delivered(settings)))) == list(range(1, 5_001))


@pytest.mark.integration
async def test_what_retention_deleted_before_it_was_read_is_told_once(topics: Settings) -> None:
    name = kafka.full_name(topics.prefix, "ticks")
    await send_ticks(topics, range(100))
    tps = [TopicPartition(name, partition) for partition in range(4)]
    async with kafka.reader(topics) as reader:
        ends = await reader.end_offsets(tps)
    async with kafka.admin(topics) as client, kafka.reader(topics, group_id=f"{topics.group}-gateway") as group:
        group.assign(tps)
        await group.commit({tp: end // 2 for tp, end in ends.items()})
        await client.delete_records({tp: RecordsToDelete(before_offset=end) for tp, end in ends.items()})

        gateway = Gateway(topics, SymbolMaster.load())
        with capture_logs() as said:
            running = asyncio.create_task(gateway.run())
            while [await group.committed(tp) for tp in tps] != [ends[tp] for tp in tps]:
                await asyncio.sleep(0.05)
            gateway.stop()
            await running
    lost = {one["partition"]: one["count"] for one in said if "deleted by retention" in one["event"]}
    assert lost == {tp.partition: end - end // 2 for tp, end in ends.items() if end}
    assert f"tocsin_gateway_lost_total {float(sum(lost.values()))}" in gateway.metrics.expose().decode()

    after = Gateway(topics, SymbolMaster.load())
    running = asyncio.create_task(after.run())
    await send_ticks(topics, range(100, 120))
    await until(lambda frames: len(trade_ids(frames)) >= 20, topics)
    after.stop()
    await running
    assert "tocsin_gateway_lost_total 0.0" in after.metrics.expose().decode()
    assert sorted(trade_ids(await delivered(topics))) == list(range(101, 121))


@pytest.mark.integration
async def test_probes_and_metrics_tell_how_it_fares(topics: Settings, tmp_path: Path) -> None:
    port = free_port()

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    with gateway_process(topics, tmp_path / "log", http_port=str(port)) as process:
        async with asyncio.timeout(HANGS_S):
            while (await asyncio.to_thread(get, "/readyz"))[0] != 200:
                await asyncio.sleep(0.1)
        await send_ticks(topics, range(60))
        await until(lambda frames: len(trade_ids(frames)) == 60, topics)
        assert await asyncio.to_thread(get, "/livez") == (200, '{"ok":true,"reasons":[]}')
        _, metrics = await asyncio.to_thread(get, "/metrics")
        assert "tocsin_gateway_ticks_total 60.0" in metrics
        assert "tocsin_gateway_seconds_count" in metrics
        assert await asyncio.to_thread(terminate, process) == 0


@pytest.mark.integration
async def test_without_topics_it_says_what_to_do_and_ends(kafka: str, prefix: str, tmp_path: Path) -> None:
    with gateway_process(Settings(bootstrap=kafka, prefix=prefix), tmp_path / "log") as process:
        assert await asyncio.to_thread(process.wait, 60) == 2
    log = (tmp_path / "log").read_text()
    assert f"{prefix}ticks" in log
    assert "run `tocsin topics create`" in log
    assert "Traceback" not in log
