"""Capturing topics from Kafka: everything a partition holds, in order, from where the recording stopped.

No group is joined and nothing is committed: the broker does not change by being recorded. How far each partition is
captured stands in the recording's manifest, which is written with the messages themselves.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from monitor import kafka
from monitor.arrivals import header_texts, trace_of
from monitor.capture_writer import CaptureWriter, Row
from monitor.errors import StartupError
from monitor.folders import Folder
from monitor.pseudonyms import Pseudonyms
from monitor.recording_format import Gap, Position, RecordingError
from monitor.settings import Settings
from schemas import codec
from schemas.alerts import AlertEvent
from schemas.errors import BadMessage
from schemas.order_frames import AnyFrame
from schemas.pseudonyms import NAMING
from schemas.topics import BY_NAME, TOPICS

#: A commit is due when so many bytes wait, however short ago the last one was.
_COMMIT_BYTES = 64 << 20
_POLL_MS = 200
_REPORT_S = 0.2
_AT_A_TIME = 2_000
#: Topics whose values are no records, or whose records say nothing of time.
_TIMELESS = frozenset(
    {"journal", "market.journal", "accounts.journal", *(topic.name for topic in TOPICS if topic.codec == "bytes")}
)

#: ns UTC of the message at which to begin, 0 for the first that is there; or what comes from now on.
Begin = int | Literal["latest"]
#: ns UTC of the message before which to end; what is there now; or None, until stopped.
Until = int | Literal["now"] | None


@dataclass(slots=True)
class Captured:
    """How far a capture has come; ``lag`` is what the topics held beyond, ``at_ns`` the newest ``ts_available``."""

    messages: int = 0
    bytes: int = 0
    lag: int = 0
    at_ns: int = 0
    resumed: bool = False
    sealing: bool = False


def default_topics(there: Collection[str], prefix: str) -> list[str]:
    """Return the topics of a daemon that are captured where none are named: all but checkpoints, which are state."""
    return [topic.name for topic in TOPICS if topic.codec != "bytes" and prefix + topic.name in there]


def times(topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int) -> tuple[int, int]:
    """Return ``ts_event`` and ``ts_available`` of a message, int64 ns UTC: its record's, a frame's of its last tick.

    A message that cannot be decoded, or says no time, has Kafka's timestamp.
    """
    kafka_ns = min(max(0, timestamp_ms) * 1_000_000, 2**63 - 1)
    if topic in _TIMELESS:
        return kafka_ns, kafka_ns
    try:
        record = codec.decode(topic, key, value, timestamp_ms)
    except BadMessage:
        return kafka_ns, kafka_ns
    if isinstance(record, AnyFrame):
        return int(record.ts_event[-1]), int(record.ts_available.max())
    if isinstance(record, AlertEvent):
        event, available = record.data.times.event_end, record.data.times.available_at
    else:
        event, available = record.ts_event, record.ts_available  # type: ignore[union-attr]
    return (event, available) if available > 0 else (event, kafka_ns)


@dataclass(slots=True)
class _Partition:
    """How far one partition is read. ``end`` is where to stop, None while that is not known."""

    topic: str
    first: int
    next: int
    absent: int = 0
    gaps: list[Gap] = field(default_factory=list)
    last_offset: int = -1
    last_sha256: str = ""
    last_ns: int = 0
    end: int | None = None
    last: ConsumerRecord | None = None

    @classmethod
    def of(cls, topic: str, at: Position) -> _Partition:
        return cls(
            topic, at.first, at.next, at.absent, list(at.gaps), at.last_offset, at.last_sha256, at.last_ns
        )  # fmt: skip

    @property
    def untouched(self) -> bool:
        return self.next == self.first

    @property
    def done(self) -> bool:
        return self.end is not None and self.next >= self.end

    def read(self, record: ConsumerRecord, ts_available: int) -> None:
        self.absent += record.offset - self.next
        self.next = record.offset + 1
        if self.gaps and not self.gaps[-1].before_ns:
            gap = self.gaps[-1]
            self.gaps[-1] = Gap(start=gap.start, end=gap.end, after_ns=gap.after_ns, before_ns=ts_available)
        self.last, self.last_ns = record, ts_available

    def skip(self, position: int) -> None:
        """Pass over offsets at which the topic holds nothing."""
        if self.end is not None:
            position = min(position, self.end)
        self.absent += max(0, position - self.next)
        self.next = max(self.next, position)

    def lose(self, begin: int) -> None:
        self.gaps.append(Gap(start=self.next, end=begin, after_ns=self.last_ns))
        self.next = begin

    def position(self) -> Position:
        if self.last is not None:
            self.last_offset, self.last_sha256, self.last = self.last.offset, fingerprint(self.last), None
        return Position(
            first=self.first,
            next=self.next,
            absent=self.absent,
            gaps=list(self.gaps),
            last_offset=self.last_offset,
            last_sha256=self.last_sha256,
            last_ns=self.last_ns,
        )


def fingerprint(record: ConsumerRecord) -> str:
    """Return the SHA-256 of a message's timestamp, key and value."""
    key, value = record.key or b"", record.value or b""
    return hashlib.sha256(b"%d %d %d " % (record.timestamp, len(key), len(value)) + key + value).hexdigest()


async def capture(
    settings: Settings,
    folder: Folder,
    *,
    topics: Collection[str] | None = None,
    begin: Begin = 0,
    until: Until = None,
    accept_gaps: bool = False,
    commit_s: float = 60.0,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[Captured], None] | None = None,
) -> Captured:
    """Capture topics into a recording, which may have been begun before, until all is there or ``stop`` is set.

    Parameters
    ----------
    topics
        Names without prefix; `default_topics` if None.
    begin
        Where partitions begin that the recording does not hold yet; the others go on where they stopped.
    accept_gaps
        Go on where retention has deleted what comes next; the recording then says so.
    commit_s
        What came is committed so often. What a crash loses is read again: it only takes time.

    Raises
    ------
    StartupError
        No broker answers, or a topic is missing.
    RecordingError
        What comes next was deleted, or the topics or the folder are not those of before.
    """
    counts = await kafka.partition_counts(settings)
    names = _wanted(settings, counts, topics)
    cluster = await kafka.cluster_id(settings)
    with CaptureWriter(folder, cluster, settings.prefix) as writer:
        async with kafka.reader(settings, auto_offset_reset="none") as consumer:
            run = _Run(settings, consumer, writer, accept_gaps, commit_s, on_progress)
            await run.place(names, counts, begin)
            if until == "now":
                await run.end_here()
            try:
                await run.read(until if isinstance(until, int) else None, stop or asyncio.Event())
            except KafkaError as error:
                await run.commit()
                raise StartupError(
                    f"The broker at {settings.bootstrap} gave no more messages ({type(error).__name__}: {error}); what"
                    " came before is captured: run the command again when it is well."
                ) from error
            await run.commit()
            run.captured.sealing = True
            run.report()
            await asyncio.to_thread(writer.seal)
            return run.captured


def _wanted(settings: Settings, counts: Mapping[str, int], topics: Collection[str] | None) -> list[str]:
    if topics is None:
        topics = default_topics(counts, settings.prefix)
        if not topics:
            raise StartupError(
                f"No topic at {settings.bootstrap} is Tocsin's with prefix {settings.prefix!r}: set TOCSIN_PREFIX, or"
                " run `tocsin topics create`."
            )
    if unknown := sorted(set(topics) - BY_NAME.keys()):
        raise StartupError(f"There is no topic {', '.join(unknown)}; Tocsin has {', '.join(BY_NAME)}.")
    if missing := [settings.prefix + name for name in topics if settings.prefix + name not in counts]:
        raise StartupError(f"Missing on {settings.bootstrap}: {', '.join(missing)}; run `tocsin topics create`.")
    return [topic.name for topic in TOPICS if topic.name in topics]


class _Run:
    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        writer: CaptureWriter,
        accept_gaps: bool,
        commit_s: float,
        on_progress: Callable[[Captured], None] | None,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._writer = writer
        self._accept_gaps = accept_gaps
        self._commit_s = commit_s
        self._on_progress = on_progress
        self._names = Pseudonyms.of(settings)
        self._parts: dict[TopicPartition, _Partition] = {}
        self._committed_s = time.monotonic()
        self._reported_s = 0.0
        self.captured = Captured(resumed=bool(writer.positions))

    async def place(self, names: Iterable[str], counts: Mapping[str, int], begin: Begin) -> None:
        """Find where each partition begins or goes on, and see that its topic is still the one that was captured."""
        tps = {
            TopicPartition(self._settings.prefix + name, partition): name
            for name in names
            for partition in range(counts[self._settings.prefix + name])
        }
        firsts = await self._consumer.beginning_offsets(list(tps))
        ends = await self._consumer.end_offsets(list(tps))
        known = {tp: at for tp, name in tps.items() if (at := self._writer.positions.get(name, {}).get(tp.partition))}
        starts = await self._starts([tp for tp in tps if tp not in known], begin, firsts, ends)
        for tp, name in tps.items():
            if tp in known:
                self._parts[tp] = _Partition.of(name, known[tp])
                await self._recognise(tp, firsts[tp], ends[tp])
                if firsts[tp] > known[tp].next:
                    self._lose(tp, firsts[tp])
            else:
                # A partition that a known topic did not have before holds nothing older than the recording.
                start = firsts[tp] if name in self._writer.positions else starts[tp]
                self._parts[tp] = _Partition(name, start, start)
        await self.commit()
        self._consumer.assign(list(self._parts))
        for tp, part in self._parts.items():
            self._consumer.seek(tp, part.next)

    async def _starts(
        self,
        tps: list[TopicPartition],
        begin: Begin,
        firsts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> Mapping[TopicPartition, int]:
        if not begin or not tps:
            return firsts
        if begin == "latest":
            return ends
        return await self._at(begin, tps, ends)

    async def _at(
        self, ns: int, tps: Iterable[TopicPartition], ends: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int]:
        """Return the first offset of each partition whose message has a timestamp of ``ns`` or later."""
        if await kafka.is_embedded(self._settings):
            raise StartupError(
                "librdkafka's embedded broker finds no messages by time: record from earliest, until now."
            )
        found = await self._consumer.offsets_for_times(dict.fromkeys(tps, ns // 1000000))
        return {tp: ends[tp] if at is None else at.offset for tp, at in found.items()}

    async def _recognise(self, tp: TopicPartition, first: int, end: int) -> None:
        """Compare a topic with what was captured of it; raise if it was made anew since."""
        part = self._parts[tp]
        same = part.next <= end
        if same and first <= part.last_offset:
            name, at = tp.topic, part.last_offset
            found = [r async for r in kafka.read_partition(self._consumer, name, tp.partition, at, at + 1)]
            gone = BY_NAME[part.topic].compacted and not found
            same = gone or [fingerprint(self._named(part.topic, one)) for one in found] == [part.last_sha256]
        if not same:
            raise self._refused(
                tp,
                f"was captured up to offset {part.next - 1} and is not the same any more: it was deleted and made anew;"
                " name another folder",
            )

    def _lose(self, tp: TopicPartition, first: int) -> None:
        part = self._parts[tp]
        if not self._accept_gaps:
            raise self._refused(
                tp,
                f"has lost offsets {part.next} to {first - 1}, which come next, to retention: name another folder, or"
                " go on with the gap by --accept-gaps",
            )
        part.lose(first)

    def _refused(self, tp: TopicPartition, why: str) -> RecordingError:
        return RecordingError(f"{tp.topic}, partition {tp.partition}, {why}.")

    async def end_here(self) -> None:
        """Stop where each partition ends now."""
        for tp, end in (await self._consumer.end_offsets(list(self._parts))).items():
            self._parts[tp].end = end

    async def read(self, until_ns: int | None, stop: asyncio.Event) -> None:
        """Read until all partitions have come to their end, or ``stop`` is set."""
        while not stop.is_set():
            if until_ns is not None and time.time_ns() >= until_ns:
                ends = await self._consumer.end_offsets(list(self._parts))
                for tp, end in (await self._at(until_ns, self._parts, ends)).items():
                    self._parts[tp].end = end
                until_ns = None
            left = [tp for tp, part in self._parts.items() if not part.done]
            if not left:
                return
            try:
                batches = await self._consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=_AT_A_TIME)
            except OffsetOutOfRangeError as error:
                for tp in error.args[0]:
                    await self._overtaken(tp)
                continue
            for tp, records in batches.items():
                self._take(self._parts[tp], records)
            for tp in left:
                self._parts[tp].skip(await self._consumer.position(tp))
            self.report()
            due = time.monotonic() - self._committed_s >= self._commit_s
            if due or self._writer.waiting_bytes >= _COMMIT_BYTES:
                await self.commit()

    def _named(self, topic: str, record: ConsumerRecord) -> ConsumerRecord:
        """Return a message as it is recorded: where accounts have pseudonyms, by those, with its trace for a header."""
        if self._names is None or topic not in NAMING:
            return record
        key, value = self._names.for_recording(topic, record.key, record.value, record.timestamp)
        trace = trace_of(header_texts(record.headers))
        headers = (("traceparent", trace.encode()),) if trace else ()
        return dataclasses.replace(record, key=key, value=value, headers=headers)

    def _take(self, part: _Partition, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            if part.end is not None and record.offset >= part.end:
                break
            record = self._named(part.topic, record)
            event, available = times(part.topic, record.key, record.value, record.timestamp)
            row: Row = (
                available, record.partition, record.offset, record.key, record.value, record.headers, record.timestamp,
                event,
            )  # fmt: skip
            self._writer.add(part.topic, row)
            part.read(record, available)
            self.captured.messages += 1
            self.captured.bytes += len(record.value or b"") + len(record.key or b"")
            self.captured.at_ns = max(self.captured.at_ns, available)

    async def _overtaken(self, tp: TopicPartition) -> None:
        """Retention, or whoever deleted the topic, was faster than the capture."""
        part = self._parts[tp]
        first = (await self._consumer.beginning_offsets([tp]))[tp]
        if part.untouched:
            part.first = part.next = first
        elif first > part.next:
            await self.commit()
            self._lose(tp, first)
        else:
            await self.commit()
            raise self._refused(tp, "was deleted and made anew; name another folder")
        self._consumer.seek(tp, part.next)

    async def commit(self) -> None:
        """Commit what came; meanwhile the consumer fetches on."""
        positions = {topic: dict(of) for topic, of in self._writer.positions.items()}
        for tp, part in self._parts.items():
            positions.setdefault(part.topic, {})[tp.partition] = part.position()
        await asyncio.to_thread(self._writer.commit, positions)
        self._committed_s = time.monotonic()

    def report(self) -> None:
        """Tell how far it has come, now and then."""
        now_s = time.monotonic()
        if self._on_progress is None or (now_s - self._reported_s < _REPORT_S and not self.captured.sealing):
            return
        self._reported_s = now_s
        self.captured.lag = sum(
            max(0, (part.end if part.end is not None else self._consumer.highwater(tp) or 0) - part.next)
            for tp, part in self._parts.items()
        )
        self._on_progress(self.captured)
