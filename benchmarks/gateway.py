"""How many single JSON ticks a second one gateway packs, beside a bare aiokafka consumer that only decodes them.

    python -m benchmarks.gateway [--ticks 1000000] [--instruments 50]

The topic is filled first. Then, in the same run and on the same messages, a consumer reads and decodes all of them, and
`tocsin gateway` with default settings reads, packs, sends and commits all of them: timed from the assignment of its
partitions to its last frame, its CPU counted from its start to its last commit, threads, imports and all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from benchmarks import harness
from benchmarks.harness import Usage
from monitor import kafka
from monitor.settings import Settings
from schemas.records import Quote, Tick, Trade


async def fill(settings: Settings, ticks: int, instruments: int, seed: int = 1) -> None:
    """Write that many ticks (nine trades to a quote), keyed, to the topic of ticks."""
    chance = random.Random(seed)
    topic = kafka.full_name(settings.prefix, "ticks")
    names = [f"SYM{number:04d}.XTOC" for number in range(instruments)]
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, max_batch_size=512 * 1024, linger_ms=5)
    await kafka.start(producer, settings)
    batches = {p: producer.create_batch() for p in range(settings.partitions)}
    now_ns = time.time_ns() - ticks * 1_000
    for number in range(ticks):
        name = chance.choice(names)
        at_ns = now_ns + number * 1_000
        tick: Tick
        if number % 10:
            side = chance.choice(("buy", "sell"))
            tick = Trade(
                ts_event=at_ns, ts_available=at_ns, instrument=name, price=100 + chance.random(), size=chance.random(),
                side=side, trade_id=str(number),  # type: ignore[arg-type]
            )  # fmt: skip
        else:
            bid = 100 + chance.random()
            tick = Quote(
                ts_event=at_ns, ts_available=at_ns, instrument=name, bid=bid, ask=bid + 0.01, bid_size=5.0, ask_size=7.0
            )
        partition = kafka.partition_for(name, settings.partitions)
        message = {"timestamp": at_ns // 1_000_000, "key": name.encode(), "value": msgspec.json.encode(tick)}
        if batches[partition].append(**message) is None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            batches[partition].append(**message)
    for partition, batch in batches.items():
        await producer.send_batch(batch, topic, partition=partition)
    await producer.stop()


async def bare(settings: Settings, ticks: int) -> tuple[float, float]:
    """Read and decode every tick with plain aiokafka; return the wall time and the CPU in s."""
    decode = msgspec.json.Decoder(Tick).decode
    topic = kafka.full_name(settings.prefix, "ticks")
    seen = 0
    async with kafka.reader(settings, fetch_max_bytes=16 * 1024 * 1024) as consumer:
        consumer.assign([TopicPartition(topic, p) for p in range(settings.partitions)])
        await consumer.seek_to_beginning()
        before = Usage.of()
        while seen < ticks:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=5_000)).values():
                for record in records:
                    decode(record.value)
                seen += len(records)
        after = Usage.of()
    return after.at_s - before.at_s, after.cpu_since(before)


async def _committed(client: AIOKafkaAdminClient, settings: Settings) -> int:
    try:
        offsets = await client.list_consumer_group_offsets(f"{settings.group}-gateway")
    except GroupCoordinatorNotAvailableError:  # a broker that never had a group
        return 0
    topic = kafka.full_name(settings.prefix, "ticks")
    return sum(held.offset for tp, held in offsets.items() if tp.topic == topic and held.offset > 0)


async def watch(settings: Settings, ticks: int, process: subprocess.Popen[bytes]) -> tuple[float, Usage, int]:
    """Wait until the gateway has committed every tick.

    Return when it sent its last frame (s UTC), its usage, and how many frames it sent.
    """
    topic = kafka.full_name(settings.prefix, "frames")
    async with kafka.admin(settings) as client:
        while await _committed(client, settings) < ticks:
            if process.poll() is not None:
                raise SystemExit(f"the gateway ended with code {process.returncode}")
            await asyncio.sleep(0.1)
    used = Usage.of(process.pid)
    frames, last_ms = 0, 0
    async with kafka.reader(settings) as consumer:
        for partition, end in (await kafka.end_offsets(consumer, topic, range(settings.partitions))).items():
            frames += end
            async for record in kafka.read_partition(consumer, topic, partition, max(0, end - 1), end):
                last_ms = max(last_ms, record.timestamp)
    return last_ms / 1000, used, frames


def assigned_s(log: Path) -> float:
    """Return when the gateway got its partitions, s UTC, as its log says."""
    lines = (json.loads(line) for line in log.read_text().splitlines())
    at = next(line["timestamp"] for line in lines if line["event"] == "partitions assigned")
    return datetime.fromisoformat(at).timestamp()


def main() -> None:
    """Run both, print the table and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--instruments", type=int, default=50)
    arguments = parser.parse_args()
    ticks, instruments = arguments.ticks, arguments.instruments
    with harness.broker() as servers, tempfile.TemporaryDirectory() as folder:
        settings = harness.fresh_settings(servers)
        asyncio.run(fill(settings, ticks, instruments))
        bare_s, bare_cpu_s = asyncio.run(bare(settings, ticks))
        log = Path(folder) / "gateway.log"
        process = harness.start("gateway", settings=settings, log=log)
        try:
            last_s, used, frames = asyncio.run(watch(settings, ticks, process))
            wall_s = last_s - assigned_s(log)
        finally:
            code = harness.stop(process)
    harness.table(
        f"{ticks:,} JSON ticks, {instruments} instruments",
        ("contender", "ticks/s", "µs CPU/tick", "ticks/frame", "RSS MB"),
        [
            ("bare aiokafka, decode only", ticks / bare_s, bare_cpu_s / ticks * 1e6, "–", "–"),
            ("tocsin gateway", ticks / wall_s, used.cpu_s / ticks * 1e6, ticks / frames, used.rss_mb),
        ],
    )
    harness.close(
        benchmark="gateway",
        ticks_per_s=round(ticks / wall_s),
        bare_ticks_per_s=round(ticks / bare_s),
        ratio_cpu_to_aiokafka=round(used.cpu_s / bare_cpu_s, 2),
        cpu_us_per_tick=round(used.cpu_s / ticks * 1e6, 2),
        ticks_per_frame=round(ticks / frames, 1),
        exit_code=code,
    )


if __name__ == "__main__":
    main()
