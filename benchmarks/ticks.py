"""CPU of the tick path as shipped: what `tocsin run` spends on a tick, from Kafka to checkpoint.

    python -m benchmarks.ticks [--frames 20000] [--ticks 200000] [--instruments 50 5000]

Frames of 500 trades stand in the topic before the worker starts: 100 trades in a bar of 5 s, so that each frame closes
five bars, and instruments take turns. A worker with default settings (all features: decode, merge, windows, features,
anomaly, pump typology, fusion, scores, journal, checkpoints, metrics) is then started as a process of its own. Its CPU,
user and system, all threads, is taken from the moment when it has recovered to the moment when all frames are applied,
checkpointed and acknowledged, and divided by the ticks applied in between. The frames are history that is loaded at
once: their event time lies in the past, and they became available when they were written. (Where a frame of 25 s
becomes available as its time passes, the clock closes two bars of the one before it, which costs more.)

Beside it, in the same run: plain aiokafka that only decodes the same frames; and Quix Streams and bytewax that build
one-minute windows, and nothing else, of single JSON ticks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition

from benchmarks import harness
from benchmarks.harness import Usage
from monitor import kafka
from monitor.settings import Settings
from schemas import frames
from schemas.records import Trade

ROWS = 500
TICK_NS = 50_000_000  # 20 ticks a second: 100 in a bar of 5 s
FRAME_NS = ROWS * TICK_NS
BAR_NS = 5_000_000_000
HOUR_NS = 3_600_000_000_000
TIMEOUT_S = 300.0


def names(instruments: int) -> list[str]:
    """Return the instruments' keys."""
    return [f"SYM{number:04d}.XTOC" for number in range(instruments)]


def walks(instruments: int, rounds: int, seed: int = 1) -> Iterator[tuple[str, frames.Frame]]:
    """Yield frames of random walks, one of each instrument a round, all rounds in the past."""
    chance = np.random.default_rng(seed)
    begin_ns = time.time_ns() - 2 * HOUR_NS - rounds * FRAME_NS
    begin_ns -= begin_ns % BAR_NS
    last = np.full(instruments, 100.0)
    keys = names(instruments)
    for number in range(rounds):
        ts = begin_ns + number * FRAME_NS + np.arange(ROWS) * TICK_NS
        for index, key in enumerate(keys):
            price = last[index] * np.exp(np.cumsum(chance.normal(0.0, 2e-4, ROWS)))
            last[index] = price[-1]
            first = number * ROWS + 1
            columns = {
                "ts_event": ts,
                # History that is loaded at once became available now.
                "ts_available": np.full(ROWS, time.time_ns()),
                "price": price,
                "size": chance.exponential(1.0, ROWS),
                "side": chance.choice(np.array([-1, 1], np.int8), ROWS),
                "trade_id": np.arange(first, first + ROWS),
                "source_offset": np.arange(first, first + ROWS),
            }
            yield key, frames.frame_of(key, columns)


async def fill_frames(settings: Settings, instruments: int, count: int) -> int:
    """Write about ``count`` frames, keyed, to the topic of frames; return how many."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap, max_batch_size=1024 * 1024, max_request_size=kafka.MAX_MESSAGE_BYTES
    )
    await kafka.start(producer, settings)
    topic = kafka.full_name(settings.prefix, "frames")
    rounds = max(1, count // instruments)
    sent = []
    for key, frame in walks(instruments, rounds):
        partition = kafka.partition_for(key, settings.partitions)
        sent.append(await producer.send(topic, frames.encode(frame), key=key.encode(), partition=partition))
    await asyncio.gather(*sent)
    await producer.stop()
    return rounds * instruments


async def fill_ticks(settings: Settings, instruments: int, count: int) -> None:
    """Write ``count`` single JSON trades, keyed, in order of time, to the topic of ticks."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, max_batch_size=512 * 1024, linger_ms=5)
    await kafka.start(producer, settings)
    topic = kafka.full_name(settings.prefix, "ticks")
    keys = names(instruments)
    begin_ns = time.time_ns() - 2 * HOUR_NS
    sent = []
    for number in range(count):
        key = keys[number % instruments]
        ts = begin_ns + number // instruments * TICK_NS
        trade = Trade(
            ts_event=ts, ts_available=ts, instrument=key, price=100.0 + number % 7, size=1.0, trade_id=str(number)
        )
        partition = kafka.partition_for(key, settings.partitions)
        value = msgspec.json.encode(trade)
        sent.append(
            await producer.send(topic, value, key=key.encode(), partition=partition, timestamp_ms=ts // 1_000_000)
        )
    await asyncio.gather(*sent)
    await producer.stop()


class Measured(NamedTuple):
    """What one contender used on ``ticks``: CPU and wall time in s, resident memory at its peak in MB."""

    cpu_s: float
    wall_s: float
    ticks: int
    rss_mb: float = 0.0

    @property
    def cpu_us(self) -> float:
        """CPU a tick, in µs."""
        return self.cpu_s / self.ticks * 1e6


async def bare(settings: Settings, count: int) -> Measured:
    """Read and decode every frame with plain aiokafka."""
    topic = kafka.full_name(settings.prefix, "frames")
    seen = 0
    async with kafka.reader(settings) as consumer:
        consumer.assign([TopicPartition(topic, p) for p in range(settings.partitions)])
        await consumer.seek_to_beginning()
        before = Usage.of()
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    frames.decode(record.value, record.key)
                seen += len(records)
        after = Usage.of()
    return Measured(after.cpu_since(before), after.at_s - before.at_s, count * ROWS)


def _get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def is_ready(address: str) -> bool:
    try:
        _get(address, "/readyz")
    except urllib.error.HTTPError:
        return False
    return True


def _metric(page: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.M))


def address_of(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where the worker serves HTTP, once its log says so."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        if found := re.search(r'"http": "(http://[^"]+)"', log.read_text()):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"the worker did not start:\n{log.read_text()[-2000:]}")


async def _acknowledged(client: Any, settings: Settings) -> int:
    offsets = await client.list_consumer_group_offsets(settings.group)
    topic = kafka.full_name(settings.prefix, "frames")
    return sum(held.offset for tp, held in offsets.items() if tp.topic == topic and held.offset > 0)


async def worker(settings: Settings, count: int, log: Path) -> Measured:
    """Run a worker over the frames."""
    process = harness.start("run", settings=settings, log=log)
    try:
        address = address_of(log, process)
        while not await asyncio.to_thread(is_ready, address):
            await asyncio.sleep(0.01)
        before = Usage.of(process.pid)
        early = _metric(_get(address, "/metrics"), "tocsin_ticks_total")
        peak_mb, deadline_s = before.rss_mb, time.monotonic() + TIMEOUT_S
        async with kafka.admin(settings) as client:
            while await _acknowledged(client, settings) < count:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(f"the worker did not finish:\n{log.read_text()[-2000:]}")
                peak_mb = max(peak_mb, Usage.of(process.pid).rss_mb)
                await asyncio.sleep(0.1)
        after = Usage.of(process.pid)
        page = _get(address, "/metrics")
    finally:
        harness.stop(process)
    applied = int(_metric(page, "tocsin_ticks_total"))
    if applied != count * ROWS or _metric(page, "tocsin_rows_set_aside_total"):
        raise SystemExit(f"expected {count * ROWS} ticks applied and none set aside, found {applied}:\n{page}")
    return Measured(
        after.cpu_since(before),
        after.at_s - before.at_s,
        applied - int(early),
        max(peak_mb, after.rss_mb),
    )


def contender(module: str, package: str, ticks: int, *arguments: str) -> Measured | str:
    """Run a contender as a process of its own; return what it used, or why there is nothing."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed here"
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.contenders.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    used = json.loads(done.stdout.splitlines()[-1])
    return Measured(used["cpu_s"], used["wall_s"], ticks)


def main() -> None:
    """Run all contenders, print the table and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000, help="frames for each number of instruments")
    parser.add_argument("--ticks", type=int, default=200_000, help="single ticks for Quix Streams and bytewax; 0: none")
    parser.add_argument("--instruments", type=int, nargs="+", default=[50, 5_000])
    arguments = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    ours: list[tuple[Measured, float]] = []

    def row(name: str, instruments: int, found: Measured | str, ratio: float | str) -> None:
        if isinstance(found, str):
            rows.append((name, f"{instruments:,}", "–", "–", "–", "–", found))
            return
        rss = f"{found.rss_mb:.0f}" if found.rss_mb else "–"
        shown = f"{ratio:.1f}" if isinstance(ratio, float) else ratio
        wall = f"{found.ticks / found.wall_s:,.0f}"
        rows.append((name, f"{instruments:,}", f"{found.cpu_us:.2f}", shown, wall, rss, ""))

    with harness.broker() as servers, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for instruments in arguments.instruments:
            settings = harness.fresh_settings(servers, ladder_down_s=0.0)
            count = asyncio.run(fill_frames(settings, instruments, arguments.frames))
            plain = asyncio.run(bare(settings, count))
            found = asyncio.run(worker(settings, count, folder / f"run-{instruments}.log"))
            ours.append((found, found.cpu_us / plain.cpu_us))
            row("aiokafka, frames only decoded", instruments, plain, 1.0)
            row("tocsin run, everything", instruments, found, ours[-1][1])
        if arguments.ticks:
            instruments = min(arguments.instruments)
            settings = harness.fresh_settings(servers)
            asyncio.run(fill_ticks(settings, instruments, arguments.ticks))
            topic, ticks = kafka.full_name(settings.prefix, "ticks"), str(arguments.ticks)
            group = f"{settings.group}-quix"
            quix = contender(
                "quix_window", "quixstreams", arguments.ticks, servers, topic, group, ticks, str(folder / "quix")
            )
            row("Quix Streams, 1 min windows in RocksDB", instruments, quix, "–")
            wax = contender("bytewax_window", "bytewax", arguments.ticks, servers, topic, ticks)
            row("bytewax, 1 min windows in memory", instruments, wax, "–")
    columns = ("contender", "instruments", "µs CPU/tick", "ratio", "ticks/s", "RSS MB", "")
    harness.table(f"frames of {ROWS} ticks, 100 ticks a bar", columns, rows)
    harness.close(
        benchmark="ticks",
        cpu_us_per_tick=round(max(found.cpu_us for found, _ in ours), 3),
        ratio_to_aiokafka=round(max(ratio for _, ratio in ours), 2),
        rss_mb=round(max(found.rss_mb for found, _ in ours)),
    )


if __name__ == "__main__":
    main()
