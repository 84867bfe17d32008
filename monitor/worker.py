"""A worker: the lanes of the partitions that Kafka gave it, and what they share.

Faust holds the group membership and delivers messages; a partition that comes gets a lane, a partition that goes has
its lane finish its turn, write its checkpoint and end. What ends a lane unexpectedly ends the process: the group gives
the partition to another worker, and the journal tells that one what happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents.flow import SHED_AT, modality_of
from engines.tracks import Embedding
from monitor import checkpoints, kafka
from monitor.arrivals import header_texts, named
from monitor.checkpoints import Loaded
from monitor.deciding import Agent
from monitor.encoding import Encode
from monitor.fence import end_process, vital
from monitor.journal import FencedError, JournalWriter, read_journal
from monitor.lane import Lane, LaneConfig
from monitor.metrics import Metrics
from monitor.outbox import Outbox, source_of, sources_of
from monitor.pseudonyms import Pseudonyms
from monitor.rulebook import Rulebook
from monitor.rules import InEffect, in_effect
from monitor.sealing import Seal
from monitor.sequencer import Pending
from monitor.settings import Settings
from monitor.state import State
from monitor.tracing import Trace
from schemas.alerts import Alert
from schemas.journal import Decides, Entry, Fallback, Rules

log = structlog.get_logger(__name__)
EXIT_LANE = 70
#: A topic whose end the consumer has reached, and that has been quiet for as long, holds nothing back.
QUIET_S = 1.0
#: A reader that recovers asks for what is there. What it asks next waits behind a fetch at the end: not half a second.
AT_END_MS = 10


class _AlertId(msgspec.Struct):
    id: str
    source: str


_alert_id = msgspec.json.Decoder(_AlertId)


class Source(Protocol):
    """The consumer's side, as Faust's driver gives it; topics by their full names."""

    def highwater(self, topic: str, partition: int) -> int | None: ...

    def position(self, topic: str, partition: int) -> int | None: ...

    def fetched_ms(self, topic: str, partition: int) -> float | None: ...

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> bool: ...

    async def seek(self, topic: str, partition: int, offset: int) -> None: ...

    def flow(self, topic: str, partition: int, on: bool) -> None: ...


class TopicRecreatedError(RuntimeError):
    """An input begins again while the state does not."""


def checkpoint_records(
    consumer: AIOKafkaConsumer, topic: str, partition: int, got_on: Callable[[], None] = lambda: None
) -> checkpoints.Read:
    """Return how `checkpoints.load` reads a partition of ``topic`` (full name); each record is told to ``got_on``."""

    async def read(start: int, end: int) -> AsyncIterator[tuple[int, bytes, bytes]]:
        async for record in kafka.read_partition(consumer, topic, partition, start, end):
            got_on()
            yield record.offset, record.key, checkpoints.from_broker(record.value, record.headers)

    return read


class LaneBroker:
    """What one lane asks of the broker (see `monitor.lane.Broker`)."""

    def __init__(
        self, settings: Settings, source: Source, stage: Stage, partition: int, names: Pseudonyms | None = None
    ) -> None:
        self._settings = settings
        self._names = names
        self._source = source
        # Not the stage: this one stays where its bundle is swapped away.
        self._scope, self._journal, self._checkpoints = stage.name, stage.journal, stage.checkpoints
        self._partition = partition
        self.last_push_s: dict[str, float] = {}
        self._flows_s = dict.fromkeys(stage.topics, time.monotonic())
        self._seeks: dict[asyncio.Task[None], str] = {}

    def _name(self, topic: str) -> str:
        return kafka.name_of(self._settings, topic)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Connect once for all that a lane reads where it recovers."""
        async with kafka.reader(self._settings, fetch_max_wait_ms=AT_END_MS) as consumer:
            self._logs = consumer
            yield

    async def load_checkpoint(self, got_on: Callable[[], None]) -> Loaded:
        topic = self._name(self._checkpoints)
        end = (await kafka.end_offsets(self._logs, topic, [self._partition]))[self._partition]
        loaded = await checkpoints.load(checkpoint_records(self._logs, topic, self._partition, got_on), end)
        if self._names is not None and loaded.closing is not None:
            self._names.go_on(loaded.closing.latest_ns, loaded.closing.named_by)
        included = {self._name(name): at for name, at in (loaded.closing.offsets if loaded.closing else {}).items()}
        ends = await asyncio.gather(*(kafka.end_offsets(self._logs, name, [self._partition]) for name in included))
        for (name, offset), found in zip(included.items(), ends, strict=True):
            if (end := found[self._partition]) < offset:
                raise TopicRecreatedError(
                    f"{name}/{self._partition} ends at offset {end}, the checkpoint includes it up to {offset}: the"
                    f" topic was made anew; delete {topic} and {self._name(self._journal)} too, or change the prefix"
                )
        return loaded

    async def read_journal(self, start: int, end: int, epoch: int) -> list[Entry]:
        records = kafka.read_partition(self._logs, self._name(self._journal), self._partition, start, end)
        return await read_journal(((r.offset, r.value) async for r in records), epoch)

    async def read_alert_ids(self, start: int) -> tuple[set[str], int]:
        topic = self._name("alerts")
        end = (await kafka.end_offsets(self._logs, topic, [self._partition]))[self._partition]
        records = kafka.read_partition(self._logs, topic, self._partition, start, end)
        sources = sources_of(self._settings.own_prefix, self._scope, self._partition)
        found = [_alert_id.decode(r.value) async for r in records]
        return {alert.id for alert in found if alert.source in sources}, end

    async def commit(self, offsets: Mapping[str, int]) -> bool:
        return await self._source.commit({(self._name(t), self._partition): o for t, o in offsets.items() if o})

    def seek(self, topic: str, offset: int) -> None:
        name = self._name(topic)
        task = vital(f"seeking in {name}/{self._partition}", self._source.seek(name, self._partition, offset))
        self._seeks[task] = topic
        task.add_done_callback(self._sought)

    def _sought(self, task: asyncio.Task[None]) -> None:
        self.last_push_s[self._seeks.pop(task)] = time.monotonic()

    def at_end(self, topic: str, next_offset: int) -> bool:
        name = self._name(topic)
        highwater = self._source.highwater(name, self._partition)
        if highwater is None:
            return False
        if next_offset >= highwater:
            return True
        # Markers of transactions, and messages that retention has deleted, take offsets that never arrive.
        position = self._source.position(name, self._partition)
        quiet_s = time.monotonic() - self.last_push_s.setdefault(topic, time.monotonic())
        # Before a seek is done, the consumer stands behind messages that the lane has not had.
        read = position is not None and position >= highwater and topic not in self._seeks.values()
        return read and quiet_s > QUIET_S

    def flow(self, topic: str, on: bool) -> None:
        if on:
            self._flows_s[topic] = time.monotonic()
        else:
            del self._flows_s[topic]  # nothing of it is fetched
        self._source.flow(self._name(topic), self._partition, on)

    def unanswered_s(self) -> dict[str, float]:
        """Return for how long no fetch of a topic has been answered, s, of each topic that flows."""
        now_s = time.monotonic()
        unanswered_s = {}
        for topic, since_s in self._flows_s.items():
            age_ms = self._source.fetched_ms(self._name(topic), self._partition)
            unanswered_s[topic] = now_s - since_s if age_ms is None else min(now_s - since_s, age_ms / 1000)
        return unanswered_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A scope's inputs and what is done with them, in which topics it keeps its journal and its checkpoints.

    ``decides`` is the bundle and the digest of all that decides where no rules are in effect, ``configs`` those of its
    parts that alerts name, if it has several; ``ruled`` is what decides under rules, or raises a ValueError where they
    cannot be followed. ``encoders`` make embeddings of records, by modality.
    """

    name: str
    topics: tuple[str, ...]
    journal: str
    checkpoints: str
    decides: Decides
    agent: Agent
    unpack: Callable[[bytes], State]
    ruled: Callable[[Rules], Stage]
    encoders: Mapping[str, Encode] = field(default_factory=dict)
    configs: tuple[str, ...] = ()

    def under(self, rules: Rules) -> Stage:
        """Return the stage as it decides under rules, itself where there are none."""
        return self.ruled(rules) if rules.text else self


class Worker:
    """One stage's lanes in this process, by partition."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        stage: Stage,
        source: Source,
        producer: AIOKafkaProducer,
        pool: Executor,
        metrics: Metrics,
        trace: Trace | None,
        rulebook: Rulebook,
        names: Pseudonyms | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self.stage = stage
        self._source = source
        self._producer = producer
        self._pool = pool
        self._metrics = metrics
        self._trace = trace
        self._rulebook = rulebook
        self._names = names
        self._seal = Seal.of(settings)
        self.lanes: dict[int, Lane] = {}
        self._draining = False
        self.given_back_s = 0.0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._brokers: dict[int, LaneBroker] = {}
        self._serving: dict[int, Stage] = {}
        self._short = {kafka.name_of(settings, topic): topic for topic in stage.topics}

    @property
    def topics(self) -> Collection[str]:
        """The stage's inputs by their full names."""
        return self._short.keys()

    # What Faust delivers.

    def push(self, message: Any) -> None:
        """Hand a message to its partition's lane: decoded, or with the reason why it could not be."""
        lane = self.lanes.get(message.partition)
        if lane is None:
            return
        topic = self._short[message.topic]
        self._brokers[message.partition].last_push_s[topic] = time.monotonic()
        try:
            headers = header_texts(message.headers or ())
            key, value = message.key or b"", message.value or b""
            found = named(self._names, topic, message.offset, key, value, message.timestamp, headers)
            self._encode(lane, found, self._serving[message.partition])
            lane.push(topic, found)
        except Exception as error:  # Faust would skip the batch and go on.
            self._fail(f"{topic}/{message.partition} offset {message.offset} could not be taken in", error)

    def _encode(self, lane: Lane, found: Pending, stage: Stage) -> None:
        """Encode off the event loop; what the ladder leaves out only where the journal asks for it after all."""
        record = found.value
        if record is None or (modality := modality_of(record)) not in stage.encoders:
            return
        encode = stage.encoders[modality]
        started: asyncio.Future[Embedding] | None = None

        def start() -> asyncio.Future[Embedding]:
            nonlocal started
            if started is None:
                started = asyncio.get_running_loop().run_in_executor(self._pool, encode, record)
                started.add_done_callback(lambda _: lane.wake())
            return started

        def drop() -> None:
            if started is not None and not started.cancel() and not started.cancelled():
                started.exception()  # a refusal that nobody asks for any more

        if lane.status.level < SHED_AT[modality]:
            start()
        found.ready = lambda: started is None or started.done()
        found.embedding, found.drop = start, drop

    def rules(self) -> dict[int, InEffect]:
        """Return which rules are in effect, by partition."""
        return {partition: in_effect(lane.rules) for partition, lane in sorted(self.lanes.items())}

    def wake(self) -> None:
        """Have every lane look at the rulebook again."""
        for lane in self.lanes.values():
            lane.wake()

    def note(self, fallback: Fallback) -> None:
        """Have each lane's journal say that another back end serves, where this stage asks any."""
        for lane in self.lanes.values() if self.stage.encoders else ():
            lane.note(fallback)

    async def swap(self, stage: Stage) -> None:
        """Have every lane go on with what another bundle decides; return when none of the old one's is left.

        Partitions that come meanwhile get the new one at once; where its decisions are the same, nothing happens.
        """
        if stage.decides == self.stage.decides:
            return
        self.stage = stage
        ends = [
            [
                lane.swap(stage.decides, stage.agent, partial(self._begin, partition, lane, stage), stage.under),
                self._tasks[partition],
            ]
            for partition, lane in self.lanes.items()
        ]
        for begun_or_over in ends:
            await asyncio.wait(begun_or_over, return_when=asyncio.FIRST_COMPLETED)

    def _begin(self, partition: int, lane: Lane, stage: Stage) -> None:
        """Encode anew what waits: what another bundle's encoders made of it would be judged as this one's."""
        if self.lanes.get(partition) is not lane:
            return  # given back meanwhile
        self._serving[partition] = stage
        for found in (found for buffer in lane.sequencer.buffers.values() for found in buffer):
            if found.drop is not None:
                found.drop()
            found.ready = found.embedding = found.drop = None
            self._encode(lane, found, stage)

    # What the group decides.

    async def assigned(self, partitions: set[int]) -> None:
        """Start a lane for each partition that has none."""
        if self._draining or not partitions:
            return
        name = self.stage.name
        for partition in sorted(partitions - set(self.lanes)):
            broker = LaneBroker(self._settings, self._source, self.stage, partition, self._names)
            lane = Lane(
                LaneConfig(
                    stage=name,
                    partition=partition,
                    topics=self.stage.topics,
                    owner=self._name,
                    decides=self.stage.decides,
                    overtake_ns=self._settings.overtake_ms * 1_000_000,
                    checkpoint_interval_s=self._settings.checkpoint_interval_s,
                    ladder_down_s=self._settings.ladder_down_s,
                    wall=time.time_ns,
                    wall_moves_time=self._settings.clock == "wall",
                    unpack=self.stage.unpack,
                    named_by=self._names.named_by if self._names is not None else lambda _: (),
                ),
                broker=broker,
                journal=JournalWriter(self._producer, kafka.name_of(self._settings, self.stage.journal), partition),
                outbox=Outbox(
                    self._producer,
                    prefix=self._settings.own_prefix,
                    source=source_of(self._settings.own_prefix, name, partition),
                    checkpoints=self.stage.checkpoints,
                    partition=partition,
                    seal=self._seal,
                    on_alert=self._alert,
                    on_dead_letter=self._metrics.dead_letter,
                    on_scores=self._metrics.scored,
                    on_signals=self._metrics.signalled,
                    on_reviews=self._metrics.reviewed,
                    on_drift=self._metrics.drifted,
                ),
                agent=self.stage.agent,
                on_turn=self._metrics.turn,
                ruled=self.stage.under,
                rulebook=self._rulebook,
            )
            self.lanes[partition], self._brokers[partition], self._serving[partition] = lane, broker, self.stage
            task = asyncio.create_task(lane.run(), name=f"{name}-{partition}")
            task.add_done_callback(self._lane_ended)
            self._tasks[partition] = task
        log.info("partitions assigned", stage=name, partitions=sorted(partitions))

    async def revoked(self, partitions: set[int]) -> None:
        """Let the lanes of these partitions finish and write their checkpoints."""
        tasks = []
        for partition in partitions & set(self.lanes):
            lane, task = self.lanes.pop(partition), self._tasks.pop(partition)
            self._brokers.pop(partition)
            self._serving.pop(partition)
            if lane.status.recovered:
                await lane.stop()
            else:
                task.cancel()
            tasks.append(task)
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, FencedError):
                log.warning("a partition was another worker's already", reason=str(error))
            elif isinstance(error, Exception):
                self._fail("a lane failed while it was given back", error)
        self.given_back_s = time.monotonic()
        log.info("partitions given back", stage=self.stage.name, partitions=sorted(partitions))

    async def drain(self) -> None:
        """Give everything back, and take nothing more."""
        self._draining = True
        await self.revoked(set(self.lanes))

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if task in self._tasks.values():
            self._fail(f"{task.get_name()} failed", asyncio.CancelledError() if task.cancelled() else task.exception())

    def _fail(self, what: str, error: BaseException | None) -> None:
        log.critical(what, exc_info=error)
        end_process(f"{what}: the worker ends, another takes over from the journal", EXIT_LANE)

    def _alert(self, alert: Alert) -> None:
        self._metrics.alert(alert)
        if self._trace is not None:
            self._trace(alert)
        log.info(
            "alert",
            alert_id=alert.alert_id,
            episode_id=alert.episode_id,
            activity=alert.activity,
            instrument=alert.subject.instrument,
            typology=alert.finding.typology,
            severity=alert.finding.severity,
            score=round(alert.finding.score, 4),
            trace=alert.provenance.trace,
        )

    def lag(self, partition: int) -> int:
        """Return how many messages of a partition are not applied yet, here and on the broker, as of the last fetch."""
        lane, broker = self.lanes[partition], self._brokers[partition]
        waiting = sum(map(len, lane.sequencer.buffers.values()))
        for name, topic in self._short.items():
            highwater, received = self._source.highwater(name, partition), lane.sequencer.next_offset[topic]
            if highwater is not None and not broker.at_end(topic, received):
                waiting += max(0, highwater - received)
        return waiting

    def unanswered_s(self, partition: int) -> dict[str, float]:
        """Return for how long no fetch of a topic's partition has been answered, s."""
        return self._brokers[partition].unanswered_s()
