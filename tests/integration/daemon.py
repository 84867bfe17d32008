"""Workers as processes of their own, a stream for them, and the account of what they wrote."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from agents.flow import Value, modality_of
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.simulator.day import Config
from engines.tracks import Embedding
from monitor import checkpoints, kafka
from monitor.recordings import Message, Recording
from monitor.replay_history import Course, by_history
from monitor.replay_journal import by_journal
from monitor.replay_logs import alerts_on_broker, broker
from monitor.replayed import Replayed
from monitor.settings import Settings
from monitor.simulation import companies_of, write
from monitor.stage import Stages, load_stages
from monitor.worker import checkpoint_records
from schemas.alerts import Alert, digest
from schemas.records import News, TranscriptSegment
from schemas.topics import ACCOUNT_INPUTS, INSTRUMENT_INPUTS

ROOT = Path(__file__).parents[2]
#: Settings by which a stream that lies there whole is taken in canonical order, however busy the machine is.
CANONICAL = {"clock": "data", "ladder_down_s": 0.0, "checkpoint_interval_s": 1.0, "overtake_ms": 0}


# What is fed.


@cache
def day(days: int = 1) -> tuple[Message, ...]:
    """Return five simulated hours a day in canonical order: about 8,700 messages, from which some 30 alerts come."""
    config = Config(
        seed=5,
        days=days,
        hours=5,
        ticks_a_second=3,
        articles_an_hour=12,
        posts_an_hour=12,
        calls=2,
        typologies=("pump_and_dump", "market_anomaly", "news_shock"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day"
        write(path, config, companies_of(SymbolMaster.load(DEFAULT_SYMBOLS)))
        recording = Recording.open(path, verify=False)
        messages = recording.messages([topic for topic in recording.topics if topic in INSTRUMENT_INPUTS])
        return tuple(dataclasses.replace(message, partition=-1) for message in messages)


class Feed:
    """Sends messages from a thread of its own, ``rate`` a second (None: flat out); the producer is idempotent.

    Those with a ``partition`` of their own go there; ``places`` holds where each message was put.
    """

    def __init__(self, settings: Settings, messages: Sequence[Message], rate: float | None = None) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,
                "queue.buffering.max.messages": 200_000,
                "message.max.bytes": kafka.MAX_MESSAGE_BYTES,
                "message.timeout.ms": 900_000,  # a broker may be away for minutes
            }
        )
        self._settings = settings
        self._messages = messages
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Messages given to the producer, and those that the broker has.
        self.offered = self.sent = 0
        self.failed: list[str] = []
        self.places: dict[int, tuple[int, int]] = {}

    def _run(self) -> None:
        began_s = time.monotonic()
        for number, message in enumerate(self._messages):
            if self._rate is not None:
                self._stop.wait(max(0.0, began_s + number / self._rate - time.monotonic()))
            if self._stop.is_set():
                break
            self._producer.produce(
                self._settings.prefix + message.topic,
                message.value,
                message.key,
                headers=list(message.headers),
                on_delivery=partial(self._delivered, number),
                # A place and a time of its own are given only to what is malformed.
                **(
                    {"partition": message.partition, "timestamp": message.timestamp_ms}
                    if message.partition >= 0
                    else {}
                ),
            )
            self.offered = number + 1
            self._producer.poll(0)
        self._producer.flush(120)

    def _delivered(self, number: int, error: Any, message: Any) -> None:
        if error is None:
            self.sent += 1
            self.places[number] = (message.partition(), message.offset())
        else:
            self.failed.append(str(error))

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> int:
        """Wait until all is delivered, and return how many messages that were."""
        self._thread.join()
        assert not self.failed
        return self.sent


# Who reads it.


class Worker:
    """`tocsin run` as a process; its log is kept in ``folder``. ``others`` are further variables of its environment."""

    def __init__(self, settings: Settings, folder: Path, name: str = "one", **others: str) -> None:
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TOCSIN_")},
            **{f"TOCSIN_{key.upper()}": str(value) for key, value in settings.model_dump(exclude_unset=True).items()},
            "TOCSIN_HTTP_PORT": "0",
            "TOCSIN_WORKER_NAME": name,
        }
        self._once = others
        self._folder = folder
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.exits: list[int] = []

    def start(self) -> Worker:
        """Start it; variables given as ``others`` are there for the first start only."""
        self.starts += 1
        once, self._once = self._once, {}
        self._log = self._folder / f"{self._name}-{self.starts}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "monitor.cli", "run"],
                cwd=ROOT,
                env=self._environment | once,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log's entries of this name."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def events_like(self, text: str) -> list[str]:
        """Return the log's lines that hold ``text``."""
        return [line for line in self.log.splitlines() if text in line]

    @property
    def partitions(self) -> list[int]:
        """The partitions that are its own and recovered; none while it is not ready."""
        status, body = self.get("/readyz")
        return json.loads(body)["partitions"]["instrument"] if status == 200 else []

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self.exits.append(code)
        self._process = None
        return code

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def drain(self, timeout_s: float = 30.0) -> int:
        """End it in order and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def revive(self) -> None:
        """Start it again if it has ended by itself, as an orchestrator would."""
        if self._process is not None and self._process.poll() is not None:
            self.wait(1)
            self.start()

    @property
    def starved_s(self) -> float:
        """How long its main thread has stood ready while other processes had the cores; 0 where nobody counts that."""
        counted = Path(f"/proc/{self.pid}/schedstat")
        return int(counted.read_text().split()[1]) / 1e9 if counted.exists() else 0.0

    @property
    def rss_mb(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP side; status 0 where it does not answer."""
        serving = self.events("serving")
        if not serving:
            return 0, ""
        try:
            with urllib.request.urlopen(serving[0]["http"] + path, timeout=2) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def __enter__(self) -> Worker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()


def until(condition: Callable[[], object], timeout_s: float, what: str, workers: Iterable[Worker] = ()) -> float:
    """Wait for a condition and return how long it took, s; workers that end by themselves are started again."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > timeout_s:
            tails = "\n".join(f"{worker.log[-3000:]}" for worker in workers)
            raise AssertionError(f"{what}: not within {timeout_s:g} s\n{tails}")
        for worker in workers:
            worker.revive()
        time.sleep(0.05)
    return time.monotonic() - began_s


class Watch:
    """Looks at offsets from outside."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": settings.group, "log_level": 0})
        self._tps = [
            TopicPartition(settings.prefix + topic, partition)
            for topic in INSTRUMENT_INPUTS
            for partition in range(settings.partitions)
        ]
        self._tps += [TopicPartition(settings.prefix + topic, 0) for topic in ACCOUNT_INPUTS]

    def end(self, topic: str) -> int:
        """Return how many messages a topic holds; a broker that is busy or gone is asked again."""
        deadline_s = time.monotonic() + 60
        while True:
            try:
                return sum(
                    self._consumer.get_watermark_offsets(TopicPartition(self._settings.prefix + topic, p), timeout=5)[1]
                    for p in range(self._settings.partitions)
                )
            except KafkaException:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)

    def acknowledged(self) -> int:
        """Return how many input messages are acknowledged."""
        try:
            return sum(max(0, tp.offset) for tp in self._consumer.committed(self._tps, timeout=10))
        except KafkaException:
            return -1

    def unacknowledged(self) -> list[str]:
        """Return the partitions of inputs that are not acknowledged to their ends, each with both offsets."""
        behind = []
        for tp in self._consumer.committed(self._tps, timeout=10):
            end = self._consumer.get_watermark_offsets(tp, timeout=5)[1]
            if max(0, tp.offset) != end:
                behind.append(f"{tp.topic}/{tp.partition}: {tp.offset} of {end}")
        return behind

    def until_acknowledged(self, sent: int, worker: Worker) -> None:
        """Wait until as many messages are acknowledged, and where they never are, tell which partitions' are not."""
        try:
            until(lambda: self.acknowledged() == sent, 120, f"{sent} messages acknowledged", [worker])
        except AssertionError as failure:
            failure.add_note(
                f"not acknowledged: {self.unacknowledged()}; {worker.get('/livez')}, {worker.get('/metrics')}"
            )
            raise

    def output_after(self, worker: Worker, timeout_s: float) -> float:
        """Wait for the next score and return how long it took, s."""
        before = self.end("scores")
        return until(lambda: self.end("scores") > before, timeout_s, "no output", [worker])

    def work_after(self, worker: Worker, timeout_s: float) -> float:
        """Wait for the next score and the next acknowledgement, and return how long both took, s.

        What a worker has sent before is no sign that it goes on.
        """
        began_s = time.monotonic()
        until(lambda: self.acknowledged() >= 0, timeout_s, "the group is known", [worker])
        acknowledged = self.acknowledged()
        self.output_after(worker, timeout_s)
        until(lambda: self.acknowledged() > acknowledged, timeout_s, "nothing acknowledged", [worker])
        return time.monotonic() - began_s

    def close(self) -> None:
        self._consumer.close()


# What must hold.


@cache
def stages(bundle: Path | None = None) -> Stages:
    """Return the daemon's own stages; each text is encoded once in this process."""
    made = load_stages(Settings(bundle=bundle), lambda _: None, mode="replay")
    known: dict[tuple[str, ...], Embedding] = {}

    encoders = made.instrument.encoders

    def encode(record: Value) -> Embedding:
        assert isinstance(record, News | TranscriptSegment)
        said = (record.headline, record.body) if isinstance(record, News) else (record.text,)
        return _at(known.get(said) or known.setdefault(said, encoders[modality_of(record)](record)), record)

    words = {"text": encode, "calls": encode}
    return dataclasses.replace(made, instrument=dataclasses.replace(made.instrument, encoders={**encoders, **words}))


def _at(embedding: Embedding, record: News | TranscriptSegment) -> Embedding:
    return msgspec.structs.replace(embedding, ts_event=record.ts_event, ts_available=record.ts_available)


@cache
def undisturbed() -> Replayed:
    """Return what the day gives in canonical order, without a broker, its frames applied whole as lanes do."""
    return asyncio.run(by_history(day(), stages(), Course(sliced=False)))


def before_the_end(alerts: Iterable[Alert], end_ns: int | None = None) -> list[Alert]:
    """Leave out what only a journal can tell again.

    That is what became known from ``end_ns`` on, and what the market's scope says, which hears of the partitions in the
    order in which they get on. ``end_ns`` is else so long before the day's end that all has closed that will: the last
    clock of a partition may not have come to close the rest.
    """
    until_ns = end_ns or day()[-1].ts_available - 600 * 10**9
    return [a for a in alerts if a.times.available_at < until_ns and not a.finding.typology.startswith("market_wide")]


@dataclass
class Account:
    """What stands in the topics against the replay of the journals, over all stages and partitions.

    ``messages``, ``scores`` and ``late`` are the instrument stage's.
    """

    messages: int = 0
    scores: int = 0
    signals: int = 0
    late: int = 0
    alerts: list[Alert] = field(default_factory=list)
    replayed: list[Alert] = field(default_factory=list)
    #: Keys whose checkpointed state differs from the replay's.
    differing: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        there = {(alert.episode_id, alert.revision) for alert in self.alerts}
        return len({(alert.episode_id, alert.revision) for alert in self.replayed} - there)

    @property
    def doubled(self) -> int:
        return sum(n - 1 for n in Counter(alert.alert_id for alert in self.alerts).values())

    @property
    def split(self) -> int:
        ids: dict[tuple[str, int], set[str]] = {}
        for alert in self.alerts:
            ids.setdefault((alert.episode_id, alert.revision), set()).add(alert.alert_id)
        return sum(len(found) - 1 for found in ids.values())

    def check(self, messages: int, alerts: int = 10) -> None:
        """Hold the account against DESIGN.md's promises."""
        counts = {"missing": self.missing, "doubled": self.doubled, "split": self.split}
        assert not any(counts.values()), counts
        assert self.messages == messages, f"{self.messages} messages journalled, {messages} sent"
        assert len(self.alerts) >= alerts, f"only {len(self.alerts)} alerts"
        assert digest(self.alerts) == digest(self.replayed), "the digest is not that of the journal's replay"
        assert not self.differing, f"state differs: {self.differing}"


async def _account(settings: Settings, others: Sequence[Path]) -> Account:
    account = Account()
    instrument, *others_of_one = stages()
    more = [stages(bundle).instrument for bundle in others]
    single = [(stage, 0) for stage in others_of_one]
    for stage, partition in [*((instrument, partition) for partition in range(settings.partitions)), *single]:
        replayed = await by_journal(broker(settings), stage, partition, others=more if stage is instrument else ())
        account.replayed += replayed.alerts
        account.signals += replayed.signals
        if stage is instrument:
            account.messages += replayed.messages
            account.scores += replayed.scores
            account.alerts += await alerts_on_broker(settings, partition)
            account.late += sum(state.late for state in replayed.table.values())  # type: ignore[attr-defined]
        async with kafka.reader(settings) as consumer:
            topic = kafka.full_name(settings.prefix, stage.checkpoints)
            end = (await kafka.end_offsets(consumer, topic, [partition]))[partition]
            read = checkpoint_records(consumer, topic, partition)
            loaded, whole = [await checkpoints.load(read, end, start) for start in (None, 0)]
            assert loaded.states == whole.states
        expected = {key: state.pack() for key, state in replayed.table.items()}
        account.differing += [
            f"{stage.name} {key}"
            for key in loaded.states.keys() | expected.keys()
            if loaded.states.get(key) != expected.get(key)
        ]
    return account


def account(settings: Settings, others: Sequence[Path] = ()) -> Account:
    """Read everything back; ``others`` are bundles that decided beside the default one.

    The workers have been drained: their last checkpoint includes all that was journalled.
    """
    return asyncio.run(_account(settings, others))
