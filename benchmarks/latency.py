"""From cause to alert: single JSON ticks and texts in, through gateway, Kafka and daemon, to a consumer of alerts.

    python -m benchmarks.latency [--seconds 120] [--causes 260]

`tocsin gateway` and `tocsin run` with default settings, each a process. The load is 1,850 trades and 100 quotes (JSON,
single), 40 posts, 8 transcript segments and 2 charts a second. Causes come at moments drawn beforehand, on instruments
that are otherwise quiet: a price that jumps by 6 %, a burst of buying, a headline, a segment of a call that speaks
against the company. A history of 45 minutes in frames comes first, since nothing scores without one.

The clock starts where the tick or text that completes the cause is handed to the producer (its ``ts_event`` is that
moment, and the alert names it as the end of its event), and stops where a consumer has the alert. Alerts that wait for
a bar's close are told apart and counted from the moment at which the bar could first be known as closed. Afterwards
gateway and daemon are stopped, and a plain aiokafka loop has the same load and both cores to itself for a third of the
time, and answers the same jumps, three times as dense.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from confluent_kafka import Producer

from benchmarks import harness
from benchmarks.harness import Usage, percentile
from benchmarks.ticks import address_of, is_ready
from engines.bundle import DEFAULT, Bundle
from engines.charts import Style, draw, png
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.text import TextEncoder
from engines.typologies import adverse_text
from monitor import kafka
from monitor.settings import Settings
from schemas import codec, frames
from schemas.alerts import AlertEvent
from schemas.records import ChartSnapshot, Document, Quote, Trade, TranscriptSegment

CHART = Style("candles", 1, 64, 14, (0, 110, 170, 255, 110, 0))  # a pixel a minute, as the simulator draws
S = 1_000_000_000
RATES = {"trade": 1_850, "quote": 100, "post": 40, "segment": 8, "chart": 2}
HISTORY_NS = 45 * 60 * S
BAR_NS = 5 * S
OPEN = adverse_text.SPEC.open
BURST = 200
ADVERSE = (
    "{name} plunges 18% after its auditor resigns",
    "{name} shares crash as regulators open a fraud probe",
    "{name} slashes guidance, shares tumble 20%",
    "Shares of {name} plunge after profit warning",
    "{name} shares slide after it misses estimates and cuts its outlook",
    "{name} cuts dividend and warns of steep losses, stock sinks 25%",
    "Broker downgrades {name} to sell, shares fall sharply",
)
USUAL = (
    "{name} to present at the spring conference next week",
    "Still holding my position in {name}, see you at the annual meeting",
    "{name} completes the move of its northern office, nothing else changes",
    "Anyone else listening to the {name} call today",
    "{name} and its suppliers renew their agreement on unchanged terms for another three years",
)
SAID = (
    "Our plans for the year are unchanged, and we will take questions at the end.",
    "Demand in the third quarter was in line with what we said in May.",
    "The move of the northern office is complete.",
)
_event = msgspec.json.Decoder(AlertEvent)
_encode = msgspec.json.Encoder().encode


class Cause(NamedTuple):
    """What is done to an instrument, and when, in s after the measurement began."""

    at_s: float
    kind: str
    instrument: str


class Seen(NamedTuple):
    """An alert and when the consumer had it, ns."""

    alert: AlertEvent
    at_ns: int


def plan(count: int, seconds: float, master: SymbolMaster, seed: int = 5) -> list[Cause]:
    """Return ``count`` causes: five jumps and two segments to a burst, and a headline for each listed instrument."""
    chance = random.Random(seed)
    listed = sorted(master.listings)
    causes = [("headline", name) for name in listed]
    for number in range(count - len(listed)):
        kind = ("jump", "jump", "segment", "jump", "burst", "jump", "segment", "jump")[number % 8]
        causes.append((kind, f"{kind.upper()}{number:03d}.XTOC"))
    chance.shuffle(causes)
    return sorted(Cause(chance.uniform(0.0, seconds), kind, name) for kind, name in causes)


class Texts(NamedTuple):
    """Headlines that raise an alert, headlines that do not, and what is said in calls, to either end."""

    adverse: list[str]
    usual: list[str]
    said_adverse: list[str]
    said: list[str]


def texts_by_score(listed: list[str]) -> Texts:
    """Return which of the texts raise an alert whatever listed company they name, and which never do."""
    encoder = TextEncoder(Bundle.load(DEFAULT))

    def scores(text: str, names: list[str]) -> list[float]:
        return [encoder.encode(text.format(name=name)).score for name in names]

    found = Texts(
        [text for text in ADVERSE if min(scores(text, listed)) >= OPEN],
        [text for text in USUAL if max(scores(text, listed)) < OPEN],
        [text.format(name="The company") for text in ADVERSE if min(scores(text, ["The company"])) >= OPEN],
        [text for text in SAID if max(scores(text, [""])) < OPEN],
    )
    if not all(found):
        raise SystemExit(f"the bundle's scores leave no text of a kind: {found}; add others to this file")
    return found


class Load(threading.Thread):
    """Produces history, then load and causes, from a thread of its own."""

    def __init__(self, settings: Settings, master: SymbolMaster, causes: list[Cause], texts: Texts) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._listed = {name: listing.name for name, listing in master.listings.items()}
        self._due: list[Cause] = []
        self._texts = texts
        self._quiet = sorted({c.instrument for c in causes if c.kind in ("jump", "burst")})
        self._price = dict.fromkeys((*self._listed, *self._quiet), 100.0)
        self._chance = random.Random(11)
        self._sent = 0
        self._bursts: list[tuple[str, float]] = []
        self._chart = png(draw(np.abs(np.random.default_rng(3).normal(100.0, 1.0, (1, 64, 5))), CHART)[0])
        self._producer = Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self.late_s = 0.0
        self._begin_s = 0.0
        self.stopping = threading.Event()

    def history(self) -> int:
        """Write 45 minutes of trades as frames, three an instrument; return how many frames."""
        draw = np.random.default_rng(2)
        now_ns = time.time_ns()
        written = []
        for name in self._price:
            step_ns = (20 if name.startswith("BURST") else 2.5) * S
            ts = np.arange(now_ns - HISTORY_NS, now_ns, step_ns).astype(np.int64) + draw.integers(0, S)
            ts = ts[ts < now_ns]
            price = 100.0 * np.exp(np.cumsum(draw.normal(0.0, 1e-4, len(ts))))
            self._price[name] = float(price[-1])
            columns = {"ts_event": ts, "ts_available": ts, "price": price, "size": draw.exponential(1.0, len(ts))}
            frame = frames.frame_of(name, columns | {"side": draw.choice(np.array([-1, 1], np.int8), len(ts))})
            third = len(ts) // 3 + 1
            written += [(int(ts[at]), name, frames.encode(frame[at : at + third])) for at in range(0, len(ts), third)]
        for _, name, value in sorted(written):
            self._send("frames", name, value)
        self._producer.flush()
        return len(written)

    def begin(self, causes: list[Cause]) -> None:
        """Have these causes come, their moments counted from now."""
        self.late_s, self._begin_s = 0.0, time.monotonic()
        self._due = list(causes)

    def run(self) -> None:
        due = dict.fromkeys(RATES, 0.0)
        makers: dict[str, Callable[[], None]] = {
            "trade": self._trade,
            "quote": self._quote,
            "post": self._post,
            "segment": self._segment,
            "chart": self._chart_snapshot,
        }
        last_s = time.monotonic()
        while not self.stopping.is_set():
            now_s = time.monotonic()
            self.late_s = max(self.late_s, now_s - last_s - 0.001)
            for kind, rate in RATES.items():
                due[kind] += rate * (now_s - last_s)
                while due[kind] >= 1.0:
                    due[kind] -= 1.0
                    makers[kind]()
            while self._due and now_s - self._begin_s >= self._due[0].at_s:
                self._cause(self._due.pop(0))
            if self._bursts:
                name, rise = self._bursts.pop(0)
                self._sent += 1
                self._tick(name, self._price[name] * rise, 20.0, "buy", str(self._sent))
            last_s = now_s
            self._producer.poll(0)
            time.sleep(0.001)
        self._producer.flush()

    def _send(self, topic: str, key: str, value: bytes) -> None:
        self._producer.produce(kafka.full_name(self._settings.prefix, topic), value, key=key)

    def _tick(self, name: str, price: float, size: float, side: str, trade_id: str) -> None:
        now_ns = time.time_ns()
        tick = Trade(
            ts_event=now_ns, ts_available=now_ns, instrument=name, price=price, size=size, side=side,  # type: ignore[arg-type]
            trade_id=trade_id,
        )  # fmt: skip
        self._send("ticks", name, _encode(tick))

    def _trade(self) -> None:
        # One tick in two hundred falls on the instruments that wait for their cause.
        quiet = self._chance.random() < 0.005
        name = self._chance.choice(self._quiet) if quiet else self._chance.choice(list(self._listed))
        price = self._price[name] * (1.0 + self._chance.gauss(0.0, 1e-5))
        self._sent += 1
        self._tick(name, price, self._chance.expovariate(1.0), self._chance.choice(("buy", "sell")), str(self._sent))

    def _quote(self) -> None:
        name = self._chance.choice(list(self._listed))
        now_ns, mid = time.time_ns(), self._price[name]
        quote = Quote(
            ts_event=now_ns, ts_available=now_ns, instrument=name, bid=mid - 0.01, ask=mid + 0.01, bid_size=5.0,
            ask_size=5.0,
        )  # fmt: skip
        self._send("ticks", name, _encode(quote))

    def _document(self, text: str, channel: str) -> None:
        self._sent += 1
        now_ns = time.time_ns()
        document = Document(
            ts_event=now_ns, ts_available=now_ns, document_id=str(self._sent), headline=text, channel=channel,  # type: ignore[arg-type]
            source="bench",
        )  # fmt: skip
        self._send("documents", str(self._sent), _encode(document))

    def _post(self) -> None:
        name = self._chance.choice(list(self._listed.values()))
        self._document(self._chance.choice(self._texts.usual).format(name=name), "post")

    def _segment(self, instrument: str = "", text: str = "") -> None:
        self._sent += 1
        now_ns = time.time_ns()
        name = instrument or self._chance.choice(list(self._listed))
        segment = TranscriptSegment(
            ts_event=now_ns, ts_available=now_ns, instrument=name, call_id=name, segment=self._sent,
            text=text or self._chance.choice(self._texts.said),
        )  # fmt: skip
        self._send("transcripts", name, _encode(segment))

    def _chart_snapshot(self) -> None:
        now_ns, name = time.time_ns(), self._chance.choice(list(self._listed))
        chart = ChartSnapshot(
            ts_event=now_ns, ts_available=now_ns, instrument=name, media_type="image/png", width=64, height=64,
            payload=self._chart,
        )  # fmt: skip
        self._send("charts", name, codec.encode(chart))

    def _cause(self, cause: Cause) -> None:
        name = cause.instrument
        if cause.kind == "headline":
            self._document(self._chance.choice(self._texts.adverse).format(name=self._listed[name]), "news")
        elif cause.kind == "segment":
            self._segment(name, self._chance.choice(self._texts.said_adverse))
        elif cause.kind == "jump":
            self._tick(name, self._price[name] * 1.06, 1.0, "buy", f"cause-{self._sent}")
        else:
            self._bursts += [(name, 1.0 + 0.12 * number / BURST) for number in range(BURST)]


async def follow(settings: Settings, topic: str, seen: list[tuple[bytes, int]]) -> None:
    """Note every message of a topic with the moment at which it was there, until cancelled."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="latest")
    await consumer.start()
    try:
        partitions = consumer.partitions_for_topic(topic) or set()
        consumer.assign([TopicPartition(topic, p) for p in partitions or range(settings.partitions)])
        async for record in consumer:
            seen.append((record.value, time.time_ns()))  # noqa: PERF401 - it is read while it grows
    finally:
        await consumer.stop()


async def arrival_times(settings: Settings, alerts: list[Seen]) -> list[int]:
    """Return for each alert when the message that completed it was written for the daemon, ns; 0 if unknown."""
    times = []
    async with kafka.reader(settings) as consumer:
        for seen in alerts:
            last = seen.alert.data.evidence.inputs[-1]
            tp = TopicPartition(kafka.full_name(settings.prefix, last.topic), last.partition)
            consumer.assign([tp])
            consumer.seek(tp, last.offset)
            times.append((await consumer.getone(tp)).timestamp * 1_000_000)
    return times


def stages(page: str) -> dict[str, tuple[float, float]]:
    """Return sum (s) and count of each of the daemon's own stages."""
    found = {}
    for name in re.findall(r'tocsin_stage_seconds_count\{stage="(\w+)"\}', page):
        total, count = (
            float(re.findall(rf'tocsin_stage_seconds_{what}{{stage="{name}"}} (\S+)', page)[0])
            for what in ("sum", "count")
        )
        found[name] = (total, count)
    return found


def metrics_page(address: str) -> str:
    """Return the daemon's metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


class Run(NamedTuple):
    """What a run gave."""

    seen: list[Seen]
    begin_ns: int
    gateway_cpu: float
    daemon_cpu: float
    late_s: float
    means_ms: dict[str, float]
    load: str


@contextlib.asynccontextmanager
async def following(settings: Settings, topic: str) -> AsyncIterator[list[tuple[bytes, int]]]:
    """Yield the list to which every message of a topic is added, with the moment at which it was there."""
    seen: list[tuple[bytes, int]] = []
    task = asyncio.create_task(follow(settings, topic, seen))
    yield seen
    await asyncio.sleep(2.0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def measure(
    settings: Settings, load: Load, causes: list[Cause], seconds: float, warm_up_s: float, address: str, pids: list[int]
) -> Run:
    """Feed, wait until history is in, warm up, measure; the load goes on."""
    written = load.history()
    deadline_s = time.monotonic() + 120
    while await asyncio.to_thread(_applied, address) < written:
        if time.monotonic() > deadline_s:
            raise SystemExit("the daemon did not take its history in within 120 s")
        await asyncio.sleep(0.1)
    async with following(settings, kafka.full_name(settings.prefix, "alerts")) as alerts:
        load.start()
        await asyncio.sleep(warm_up_s)
        before, first = [Usage.of(pid) for pid in pids], stages(await asyncio.to_thread(metrics_page, address))
        begin_ns = time.time_ns()
        load.begin(causes)
        await asyncio.sleep(seconds)
        after, last = [Usage.of(pid) for pid in pids], stages(await asyncio.to_thread(metrics_page, address))
        late_s = load.late_s
    shares = [b.cpu_since(a) / (b.at_s - a.at_s) for a, b in zip(before, after, strict=True)]
    means = {
        name: (total - first.get(name, (0.0, 0.0))[0]) / max(1.0, count - first.get(name, (0.0, 0.0))[1]) * 1e3
        for name, (total, count) in last.items()
    }
    seen = [Seen(_event.decode(value), at_ns) for value, at_ns in alerts]
    return Run(seen, begin_ns, shares[0], shares[1], late_s, means, loadavg())


class Plain(NamedTuple):
    """What the plain loop gave: ms from each jump to its answer, the jumps, and how the load and the machine were."""

    ms: list[float]
    jumps: int
    late_s: float
    load: str


async def measure_plain(settings: Settings, load: Load, causes: list[Cause], seconds: float, topic: str) -> Plain:
    """Wait until the plain loop answers, then measure it under the load that goes on."""
    jumps = [cause._replace(at_s=cause.at_s / 3) for cause in causes if cause.kind == "jump"]
    async with following(settings, topic) as answers:
        deadline_s = time.monotonic() + 60
        while not answers:
            if time.monotonic() > deadline_s:
                raise SystemExit("the plain loop did not answer within 60 s")
            load.begin(jumps[:1])
            await asyncio.sleep(jumps[0].at_s + 1.0)
        begin_ns = time.time_ns()
        load.begin(jumps)
        await asyncio.sleep(seconds / 3)
        late_s, machine = load.late_s, loadavg()
    sent_ns = [(msgspec.json.decode(value)["time"], at_ns) for value, at_ns in answers]
    return Plain([(b - a) / 1e6 for a, b in sent_ns if a >= begin_ns], len(jumps), late_s, machine)


def _applied(address: str) -> float:
    found = re.findall(r'^tocsin_messages_total\{topic="frames"\} (\S+)$', metrics_page(address), re.M)
    return float(found[0]) if found else 0.0


def kind_of(seen: Seen) -> str:
    """Return the row that an alert is counted in; an empty one where it is not counted."""
    alert = seen.alert.data
    name = alert.finding.typology.partition("@")[0]
    if alert.activity == "close":
        return ""
    if name == "adverse_text":
        return f"adverse_text, {alert.evidence.inputs[-1].topic}"
    if name == "elevated_risk":
        at_close = alert.times.event_end % BAR_NS == 0
        return "elevated_risk, bar's close" if at_close else "elevated_risk, text"
    return name


def report(
    run: Run, plain: Plain, causes: list[Cause], sent_ns: list[int], immediate: list[Seen]
) -> tuple[float, float]:
    """Print the tables; return p50 and p99 of all immediate alerts, ms."""
    rows: list[tuple[object, ...]] = []

    def row(name: str, values: list[float]) -> None:
        if values:
            shown = [f"{percentile(values, p):.1f}" for p in (50, 90, 99, 100)]
            rows.append((name, len(values), *shown))

    total = [(s.at_ns - s.alert.data.times.event_end) / 1e6 for s in immediate]
    row("all immediate alerts", total)
    for kind in sorted({kind_of(s) for s in immediate}):
        row(f"  {kind}", [ms for ms, s in zip(total, immediate, strict=True) if kind_of(s) == kind])
    detected = [s.alert.data.times.detected_at or 0 for s in immediate]
    ends = [s.alert.data.times.event_end for s in immediate]
    row("stage: to the daemon's topic (gateway)", [(a - b) / 1e6 for a, b in zip(sent_ns, ends, strict=True)])
    row("stage: Kafka, buffer, agents, journal", [(a - b) / 1e6 for a, b in zip(detected, sent_ns, strict=True)])
    row("stage: to the consumer", [(s.at_ns - d) / 1e6 for s, d in zip(immediate, detected, strict=True)])
    closes = [s for s in run.seen if kind_of(s) == "elevated_risk, bar's close"]
    row(
        "elevated_risk at a bar's close, from the watermark",
        [
            (s.at_ns - s.alert.data.times.available_at) / 1e6
            for s in closes
            if s.alert.data.times.available_at >= run.begin_ns
        ],
    )
    row("plain aiokafka loop by itself, jumps", plain.ms)
    harness.table("ms from cause to alert", ("", "alerts", "p50", "p90", "p99", "max"), rows)
    means = ", ".join(f"{name} {ms:.2f}" for name, ms in run.means_ms.items())
    print(f"means of the daemon's turns, ms: {means}")
    print(
        f"cores used: gateway {run.gateway_cpu:.2f}, daemon {run.daemon_cpu:.2f}; "
        f"the load was at most {run.late_s * 1e3:.0f} ms late; load of the machine {run.load}"
    )
    print(
        f"plain loop: {len(plain.ms)} of {plain.jumps} jumps answered; "
        f"the load was at most {plain.late_s * 1e3:.0f} ms late; load of the machine {plain.load}"
    )
    wanted = {"jump": "market_anomaly", "burst": "pump_and_dump", "headline": "adverse_text", "segment": "adverse_text"}
    found = {(s.alert.data.finding.typology.partition("@")[0], s.alert.data.subject.instrument) for s in immediate}
    missed = [cause.instrument for cause in causes if (wanted[cause.kind], cause.instrument) not in found]
    print(f"causes: {len(causes)}, without an alert: {', '.join(missed) or 'none'}")
    return percentile(total, 50), percentile(total, 99)


def loadavg() -> str:
    """Return the load averages of the machine."""
    return Path("/proc/loadavg").read_text().rsplit(" ", 2)[0] if Path("/proc/loadavg").exists() else "unknown"


@contextlib.contextmanager
def processes(settings: Settings, folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Run gateway and daemon; yield the daemon's address and their process ids."""
    gateway = harness.start("gateway", settings=settings, log=folder / "gateway.log")
    daemon = harness.start("run", settings=settings, log=folder / "run.log")
    try:
        address = address_of(folder / "run.log", daemon)
        while not is_ready(address):
            time.sleep(0.05)
        yield address, [gateway.pid, daemon.pid]
        if ended := [p.args for p in (gateway, daemon) if p.poll() is not None]:
            raise SystemExit(f"ended early: {ended}\n{(folder / 'run.log').read_text()[-2000:]}")
    finally:
        for process in (gateway, daemon):
            harness.stop(process)


@contextlib.contextmanager
def plain_loop(settings: Settings, topic: str) -> Iterator[None]:
    """Run the plain loop."""
    ticks = kafka.full_name(settings.prefix, "ticks")
    command = [sys.executable, "-m", "benchmarks.contenders.plain_loop", settings.bootstrap, ticks, topic]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise SystemExit(f"the plain loop ended early, with {process.returncode}")
    finally:
        harness.stop(process)


async def create(settings: Settings, topic: str) -> None:
    """Create the plain loop's topic of one partition."""
    async with kafka.admin(settings) as client:
        await client.create_topics([NewTopic(topic, 1, 1)])


def main() -> None:
    """Run it, print the tables and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--warm-up", type=float, default=20.0)
    parser.add_argument("--causes", type=int, default=260)
    arguments = parser.parse_args()
    master = SymbolMaster.load(DEFAULT_SYMBOLS)
    texts = texts_by_score([listing.name for listing in master.listings.values()])
    causes = plan(arguments.causes, arguments.seconds, master)
    # The load's thread shall not keep the consumers' from their messages.
    sys.setswitchinterval(0.0005)
    with harness.broker() as servers, tempfile.TemporaryDirectory() as name:
        settings = harness.fresh_settings(servers)
        answers = f"{settings.prefix}plain"
        asyncio.run(create(settings, answers))
        load = Load(settings, master, causes, texts)
        with processes(settings, Path(name)) as (address, pids):
            run = asyncio.run(measure(settings, load, causes, arguments.seconds, arguments.warm_up, address, pids))
        with plain_loop(settings, answers):
            plain = asyncio.run(measure_plain(settings, load, causes, arguments.seconds, answers))
        load.stopping.set()
        load.join()
        immediate = [
            s
            for s in run.seen
            if kind_of(s) not in ("", "elevated_risk, bar's close") and s.alert.data.times.event_end >= run.begin_ns
        ]
        sent_ns = asyncio.run(arrival_times(settings, immediate))
    p50_ms, p99_ms = report(run, plain, causes, sent_ns, immediate)
    harness.close(
        benchmark="latency",
        p50_ms=round(p50_ms, 1),
        p99_ms=round(p99_ms, 1),
        alerts=len(immediate),
        plain_p50_ms=round(percentile(plain.ms, 50), 1),
        plain_p99_ms=round(percentile(plain.ms, 99), 1),
    )


if __name__ == "__main__":
    main()
