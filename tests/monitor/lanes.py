"""A lane over logs in memory. A crash loses what its producer had not delivered, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec

from agents.flow import Arrival, Item, Settled
from monitor import checkpoints
from monitor.checkpoints import Loaded
from monitor.deciding import Output
from monitor.journal import JournalWriter, valid_entries
from monitor.lane import Lane, LaneConfig
from monitor.outbox import Outbox
from monitor.rulebook import NO_RULES, Rulebook
from monitor.sequencer import Pending
from schemas.alerts import Alert, AlertEvent
from schemas.journal import Clock, Decides, Entry, Fallback, Ladder, Rules
from schemas.records import DeadLetter, News, Review, Score, Signal
from tests.golden.examples import EXAMPLES

TOPICS = ("frames", "news")
S = 1_000_000_000
T0 = 1_790_000_000 * S
ALERT: Alert = next(cast(AlertEvent, example.record) for example in EXAMPLES if example.topic == "alerts").data


NEWS = News(ts_event=T0, ts_available=T0, instrument="A", document_id="d", headline="x", source="s", channel="news")


# The world outside the lane.


class Metadata(NamedTuple):
    offset: int


class Batch:
    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def append(self, *, key: bytes, value: bytes | None, timestamp: int, headers: Any = ()) -> object:
        self.records.append((key, checkpoints.from_broker(value, headers)))
        return self

    def record_count(self) -> int:
        return len(self.records)


class Logs:
    """One partition of every topic that lanes write, and the offsets that they acknowledged."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.committed: dict[str, int] = dict.fromkeys(TOPICS, 0)

    def entries(self) -> list[Entry]:
        return valid_entries(((i, value) for i, (_, value) in enumerate(self.of["journal"])), -1)

    def alerts(self) -> list[str]:
        return [msgspec.json.decode(value, type=AlertEvent).id for _, value in self.of["alerts"]]

    def dead_letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(value, type=DeadLetter) for _, value in self.of["deadletters"]]

    async def load(self) -> Loaded:
        """Load the last checkpoint, and hold it against what the whole log says."""
        log = list(self.of["checkpoints"])

        async def read(start: int, end: int) -> AsyncIterator[tuple[int, bytes, bytes]]:
            for offset, (key, value) in enumerate(log[start:end], start):
                yield offset, key, value

        loaded, whole = [await checkpoints.load(read, len(log), start) for start in (None, 0)]
        assert msgspec.structs.replace(loaded, start=0) == whole
        return loaded

    def loaded(self) -> Loaded:
        return asyncio.run(self.load())


class Producer:
    """Delivers in order and some turns of the loop later; once dead, of what is on its way only a beginning arrives."""

    def __init__(self, logs: Logs, rng: random.Random) -> None:
        self._logs = logs
        self._rng = rng
        self._flying: deque[tuple[str, list[tuple[bytes, bytes]], asyncio.Future[Metadata]]] = deque()
        self.dead = False

    def _put(self, topic: str, records: list[tuple[bytes, bytes]]) -> asyncio.Future[Metadata]:
        future: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        if not self.dead:
            self._flying.append((topic, records, future))
            asyncio.get_running_loop().call_soon(self._later, self._rng.randrange(3))
        return future

    def _later(self, turns: int) -> None:
        if self.dead:
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._later, turns - 1)
        elif self._flying:
            self._land()

    def _land(self) -> None:
        topic, records, future = self._flying.popleft()
        log = self._logs.of[topic]
        offset = len(log)
        log.extend(records)
        if not future.done():
            future.set_result(Metadata(offset))

    def die(self) -> None:
        for _ in range(self._rng.randint(0, len(self._flying))):
            self._land()
        self.dead = True

    async def send_and_wait(self, topic: str, value: bytes, *, partition: int, key: bytes) -> Metadata:
        return await self._put(topic, [(key, value)])

    async def send(self, topic: str, value: bytes, *, key: bytes, **_: Any) -> asyncio.Future[Metadata]:
        return self._put(topic, [(key, value)])

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Metadata]:
        return self._put(topic, batch.records)

    async def flush(self) -> None:
        while self._flying and not self.dead:
            await asyncio.sleep(0)


class Broker:
    """The consumer's side: inputs that are all there, fetched from what is acknowledged on."""

    def __init__(self, logs: Logs, inputs: Mapping[str, list[Pending]], producer: Producer) -> None:
        self._logs = logs
        self._inputs = inputs
        self._producer = producer
        self.fetched = dict(logs.committed)
        self._asked: dict[str, int] = {}
        self.stopped: set[str] = set()
        self.reached_end = True
        self.most = 3
        #: As many commits are refused, as by a group that has moved on; what `answers` is not set for is not answered.
        self.refusals = 0
        self.answers = asyncio.Event()
        self.answers.set()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        yield

    async def load_checkpoint(self, got_on: Callable[[], None]) -> Loaded:
        await asyncio.sleep(0)
        return await self._logs.load()

    async def read_journal(self, start: int, end: int, epoch: int) -> list[Entry]:
        await asyncio.sleep(0)
        return valid_entries([(i, v) for i, (_, v) in enumerate(self._logs.of["journal"])][start:end], epoch)

    async def read_alert_ids(self, start: int) -> tuple[set[str], int]:
        await asyncio.sleep(0)
        alerts = self._logs.alerts()
        return set(alerts[start:]), len(alerts)

    async def commit(self, offsets: Mapping[str, int]) -> bool:
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.refusals:
            self.refusals -= 1
            return False
        if not self._producer.dead:
            self._logs.committed |= offsets
        return True

    def seek(self, topic: str, offset: int) -> None:
        self._asked[topic] = offset

    def at_end(self, topic: str, next_offset: int) -> bool:
        return self.reached_end and next_offset >= len(self._inputs[topic])

    def flow(self, topic: str, on: bool) -> None:
        (self.stopped.discard if on else self.stopped.add)(topic)

    async def deliver(self, lane: Lane, rng: random.Random) -> None:
        """Push what comes, a few messages at a time, until cancelled."""
        while True:
            self.fetched |= self._asked
            self._asked.clear()
            for topic in TOPICS:
                if topic not in self.stopped and rng.random() < 0.2:
                    for message in self._inputs[topic][self.fetched[topic] :][: rng.randint(1, self.most)]:
                        self.fetched[topic] = message.offset + 1
                        lane.push(topic, message)
            await asyncio.sleep(0)


# What it does: a count a key, a chain over all that was applied, an alert at every third.


class Counted:
    def __init__(self, n: int = 0, chain: bytes = b"") -> None:
        self.n = n
        self.chain = chain

    def pack(self) -> bytes:
        return self.n.to_bytes(4, "big") + self.chain

    @staticmethod
    def unpack(data: bytes) -> Counted:
        return Counted(int.from_bytes(data[:4], "big"), data[4:])


async def counting(items: AsyncIterator[Item], table: Any, config: str = "") -> AsyncIterator[Output]:
    level = 0
    async for item in items:
        match item:
            case Ladder():
                level = item.level
            case Fallback() | Settled():
                pass
            case Clock():
                for key in sorted(table):
                    kept = table[key]
                    kept.chain = hashlib.sha256(kept.chain + b"clock%d" % item.now_ns).digest()
                    table[key] = kept
            case Arrival():
                kept = table.get(item.key) or Counted()
                kept.n += 1
                kept.chain = hashlib.sha256(
                    kept.chain + f"{item.topic}{item.offset}{item.ordinal}{level}".encode()
                ).digest()
                table[item.key] = kept
                yield Score(
                    ts_event=item.ts_available, ts_available=item.ts_available, instrument=item.key,
                    window_start=0, window_end=1, scores={"n": 0.5}, ages_ns={}, bundle="b",
                )  # fmt: skip
                yield Signal(
                    ts_event=item.ts_available, ts_available=item.ts_available, instrument=item.key,
                    window_start=0, window_end=1,
                )  # fmt: skip
                yield Review(
                    ts_event=item.ts_available, ts_available=item.ts_available, review_id=f"{item.key}-{kept.n}",
                    instrument=item.key, typology="x@1", window_start=0, window_end=1, score=0.25, threshold=0.5,
                    propensity=0.5, config="c",
                )  # fmt: skip
                if kept.n % 3 == 0:
                    name = f"{item.key}-{kept.n}-{kept.chain.hex()[:8]}{config}"
                    yield msgspec.structs.replace(ALERT, alert_id=name, episode_id=name)
            case _:
                raise AssertionError(item)


def inputs(rng: random.Random, n: int = 60) -> dict[str, list[Pending]]:
    """Return messages of two topics and three keys over some seconds; every tenth cannot be used."""
    made: dict[str, list[Pending]] = {topic: [] for topic in TOPICS}
    at = T0
    for number in range(n):
        at += rng.randrange(200_000_000)
        topic = rng.choice(TOPICS)
        key = rng.choice("ABC")
        news = News(
            ts_event=at, ts_available=at, instrument=key, document_id=str(number), headline="x", body="",
            source="s", channel="news",
        )  # fmt: skip
        bad = number % 10 == 9
        made[topic].append(
            Pending(
                len(made[topic]),
                "" if bad else key,
                0 if bad else at,
                None if bad else news,
                refusal=("not_json", "expected JSON") if bad else None,
                raw=(b"k", b"v"),
                sent_ms=at // 1_000_000,
            )
        )
    return made


def under(rules: Rules) -> Any:
    """Return what decides under rules: alerts bear their text."""
    return SimpleNamespace(decides=Decides("", "c" + rules.text), agent=partial(counting, config=f"-{rules.text}"))


class Life:
    """One worker's lane, from its start to its end."""

    def __init__(
        self,
        logs: Logs,
        messages: Mapping[str, list[Pending]],
        rng: random.Random,
        rulebook: Rulebook | None = None,
        **others: Any,
    ) -> None:
        self.rng = rng
        self.producer = Producer(logs, rng)
        self.broker = Broker(logs, messages, self.producer)
        producer = cast(Any, self.producer)
        config: dict[str, Any] = {
            "stage": "test", "partition": 0, "topics": TOPICS, "owner": "test", "decides": Decides("", "c"),
            "overtake_ns": 250_000_000, "checkpoint_interval_s": 1e-9, "ladder_down_s": 0.0,
            "wall": lambda: T0, "wall_moves_time": False, "unpack": Counted.unpack,
            "named_by": lambda ts_ns: (f"at {ts_ns}",),
        }  # fmt: skip
        agent = cast(Any, partial(counting, config=others["decides"].config if "decides" in others else ""))
        self.lane = Lane(
            LaneConfig(**config | others),
            broker=self.broker,
            journal=JournalWriter(producer, "journal", 0),
            outbox=Outbox(producer, prefix="", source="/t/0", checkpoints="checkpoints", partition=0, wall=lambda: T0),
            agent=agent if rulebook is None else under(NO_RULES).agent,
            ruled=None if rulebook is None else under,
            rulebook=rulebook,
        )
        self.run = asyncio.ensure_future(self.lane.run())
        self.deliver = asyncio.ensure_future(self.broker.deliver(self.lane, rng))

    async def turns(self, n: int) -> None:
        for _ in range(n):
            await asyncio.sleep(0)

    async def crash(self) -> None:
        """End as kill -9 does: what the producer has not delivered is lost."""
        self.producer.die()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self, messages: int) -> None:
        """Apply everything and stop in order."""
        async with asyncio.timeout(60):
            while self.lane._ordinal < messages and not self.run.done():
                await asyncio.sleep(0.001)
            await self.lane.stop()
            await self.run
        self.deliver.cancel()


def undisturbed(messages: Mapping[str, list[Pending]], seed: int = 0) -> Logs:
    async def live() -> None:
        await Life(logs, messages, random.Random(seed)).finish(sum(map(len, messages.values())))

    logs = Logs()
    asyncio.run(live())
    return logs


def state(logs: Logs) -> dict[str, bytes]:
    return logs.loaded().states
