"""The gateway: single ticks become frames, documents become news of the instruments that they name.

Plain aiokafka: one consumer group over both topics, one idempotent producer. Committed is only what the broker has
acknowledged; what a crash makes the gateway send again carries the same `source_offset`, and the daemon drops it.

How long a frame waits for more ticks weighs latency against the daemon's cost, which is per frame. Where an
instrument's next tick is usually there within ``frame_ms``, its frames wait for as long. Elsewhere waiting saves
hardly a frame, so the wait begins at a twentieth of ``frame_ms`` and grows with the square of the frames a second, to
all of it at `FULL_WAIT_FRAMES_S`. While the gateway works off a backlog, latency is lost anyway, and frames wait up to
`BACKLOG_WAIT_S` for their ticks.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from engines.instruments import SymbolMaster
from monitor import credentials, kafka, probes
from monitor.arrivals import dead_letter, header_texts, refused, trace_of
from monitor.delivery import Delivery, DeliveryError
from monitor.liveness import STUCK_S, Pulse
from monitor.metrics import GatewayMetrics
from monitor.packing import OpenFrame, Partition, Wait
from monitor.sealing import Seal
from monitor.sequencer import Taken
from monitor.settings import Settings
from schemas import codec
from schemas.errors import BadMessage
from schemas.records import Document, News
from schemas.topics import MARKET

log = structlog.get_logger(__name__)

FULL_WAIT_FRAMES_S = 4_000.0
LEAST_WAIT = 0.05
BACKLOG_WAIT_S = 1.0
COMMIT_EVERY_S = 1.0
#: A fetch waits so long for so much: each costs more than the few ticks that it would bring at once.
FETCH_WAIT_MS = 3
FETCH_BYTES = 64 * 1024
#: Messages taken at once: large enough to pack well, small enough (50 ms of work) that heartbeats and acknowledgements
#: get their turn.
MAX_RECORDS = 5_000
#: How long a client may take to close.
CLOSE_S = 2.0
#: Lag without any commit for as long is a failure of the liveness probe.
STALLED_S = 60.0
#: Longest wait for messages, so that a request to stop is seen.
IDLE_MS = 200


class GatewayError(Exception):
    """What ended the gateway, in one sentence."""


class Gateway(ConsumerRebalanceListener):
    """One gateway process.

    Parameters
    ----------
    settings: the broker, the prefix, and when a frame closes.
    master: finds the instruments that a document names.
    """

    def __init__(self, settings: Settings, master: SymbolMaster) -> None:
        self._settings = settings
        self._master = master
        self._ticks = kafka.full_name(settings.prefix, "ticks")
        self._documents = kafka.full_name(settings.prefix, "documents")
        self._frames = kafka.full_name(settings.prefix, "frames")
        self._news = kafka.full_name(settings.prefix, "news")
        self._dead_letters = kafka.full_name(settings.prefix, "deadletters")
        self._seal = Seal.of(settings)
        self.metrics = GatewayMetrics()
        self._parts: dict[TopicPartition, Partition] = {}
        self._untold: asyncio.Queue[list[TopicPartition]] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self.stopping = asyncio.Event()
        self._frame_s = settings.frame_ms / 1000
        self._wait_s = self._frame_s * LEAST_WAIT
        self._wait = Wait(self._wait_s, self._frame_s)
        self._frames_sent = 0
        self._joined = False
        self._moved_s = self._assigned_s = time.monotonic()
        self._misplaced: set[str] = set()
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(settings),
            group_id=f"{settings.group}-gateway",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=kafka.heartbeat_ms(settings),
            fetch_max_bytes=16 * 1024 * 1024,
            fetch_min_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        self._producer = AIOKafkaProducer(
            **kafka.client_options(settings),
            acks="all",
            # Order and exactly one copy for each sending: were a lost batch overtaken by the one after it, the daemon
            # would take its second sending for a duplicate.
            enable_idempotence=True,
            max_batch_size=1024 * 1024,
            max_request_size=kafka.MAX_MESSAGE_BYTES,
        )
        self._delivery = Delivery(self._producer)
        self._secrets = credentials.Mounted(settings)
        self._pulse = Pulse(self._producer.client.force_metadata_update)

    async def run(self) -> None:
        """Work until `stop`; then deliver what is under way, commit it, and return.

        Raises
        ------
        StartupError: no broker, or topics that are missing or unequal.
        GatewayError: a delivery failed, or the broker was lost for good; nothing undelivered was committed.
        """
        names = ("ticks", "documents", "frames", "news", "deadletters")
        self._partitions = await kafka.require_topics(self._settings, names)
        await kafka.start(self._producer, self._settings)
        try:
            await kafka.start(self._consumer, self._settings)
            async with probes.serve(
                self._settings.http_host,
                self._settings.http_port,
                live=self._live,
                ready=self._ready,
                expose=self.metrics.expose,
                about=lambda: {"secrets": self._secrets.told} if self._secrets.told else {},
            ) as address:
                self._consumer.subscribe([self._ticks, self._documents], listener=self)
                log.info("gateway started", bootstrap=self._settings.bootstrap, http=address)
                await self._work()
        finally:
            await self._close()

    async def _work(self) -> None:
        work = asyncio.create_task(self._loop())
        upkeep = asyncio.create_task(self._upkeep())
        pulse, telling = asyncio.create_task(self._pulse.keep()), asyncio.create_task(self._tell())
        try:
            ended: tuple[asyncio.Future[None], ...] = (pulse, telling, upkeep, self._delivery.failed, work)
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            for future in ended:
                if future.done():
                    future.result()
            async with self._turn:
                await self._settle()
            log.info("gateway drained")
        except DeliveryError as error:
            raise GatewayError(str(error)) from error
        except KafkaError as error:
            raise GatewayError(
                f"Kafka failed the gateway ({kafka.told(error)}): restart it, it goes on from its last commit."
            ) from error
        finally:
            tasks = work, upkeep, pulse, telling
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        for client in (self._consumer, self._producer):
            try:
                await asyncio.wait_for(client.stop(), CLOSE_S)
            except (KafkaError, TimeoutError) as error:
                log.warning("a client did not stop in order", error=str(error))

    def stop(self) -> None:
        """Ask `run` to finish in order."""
        self.stopping.set()

    # Reading.

    async def _loop(self) -> None:
        while not self.stopping.is_set():
            batches = await self._consumer.getmany(timeout_ms=self._timeout_ms(), max_records=MAX_RECORDS)
            async with self._turn:
                for tp, records in batches.items():
                    part = self._parts.get(tp)
                    if part is None:
                        begun = Partition(self._settings.frame_ticks, self._frame_s, records[0].offset)
                        part = self._parts[tp] = begun
                    if tp.topic == self._ticks:
                        await self._take_ticks(tp, part, records)
                    else:
                        await self._take_documents(tp, part, records)
                backlog = sum(self._lag(tp) for tp in self._parts) > MAX_RECORDS
                self._wait = Wait(BACKLOG_WAIT_S, BACKLOG_WAIT_S) if backlog else Wait(self._wait_s, self._frame_s)
                await self._send_waited(time.monotonic())
            await self._delivery.room()

    def _timeout_ms(self) -> int:
        dues_s = [due_s for part in self._parts.values() if (due_s := part.packer.due_s(self._wait)) is not None]
        return min([IDLE_MS, *(max(0, int((due_s - time.monotonic()) * 1000) + 1) for due_s in dues_s)])

    async def _take_ticks(self, tp: TopicPartition, part: Partition, records: Sequence[ConsumerRecord]) -> None:
        now_s = time.monotonic()
        add, decode, partitions = part.packer.add, codec.decode_tick, self._partitions
        for record in records:
            offset = record.offset
            try:
                tick = decode(record.key, record.value, record.timestamp)
            except BadMessage as refusal:
                await self._refuse("ticks", tp, part, record, refusal)
                continue
            # Offsets tell duplicates apart only where an instrument's ticks all stand in its own partition.
            placed = kafka.partition_for(tick.instrument, partitions) == tp.partition
            if not placed:
                self._warn_misplaced(tick.instrument, tp)
            full = add(tick, offset, now_s, offset if placed else -1)
            if full is not None:
                await self._send_frame(tp, part, full)
        part.ledger.position = records[-1].offset + 1
        self.metrics.ticks.inc(len(records))

    def _warn_misplaced(self, instrument: str, tp: TopicPartition) -> None:
        if instrument not in self._misplaced and len(self._misplaced) < 1_000:
            self._misplaced.add(instrument)
            log.warning(
                "ticks in another partition than their key's: they pass, but what a crash repeats cannot be told apart;"
                " let the producer use the murmur2 partitioner",
                instrument=instrument,
                found=tp.partition,
                expected=kafka.partition_for(instrument, self._partitions),
            )

    async def _take_documents(self, tp: TopicPartition, part: Partition, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            try:
                document = codec.decode("documents", record.key, record.value, record.timestamp)
            except BadMessage as refusal:
                await self._refuse("documents", tp, part, record, refusal)
                continue
            assert isinstance(document, Document)
            headers = _headers(f"documents/{tp.partition}", record.headers)
            for news in news_of(document, self._master):
                await self._send(part, record.offset, self._news, news.instrument, codec.encode(news), headers)
                self.metrics.news.inc()
        part.ledger.position = records[-1].offset + 1
        self.metrics.documents.inc(len(records))

    # Sending.

    async def _send_waited(self, now_s: float) -> None:
        for tp, part in self._parts.items():
            for frame in part.packer.take_older(now_s, self._wait):
                await self._send_frame(tp, part, frame)

    async def _send_frame(self, tp: TopicPartition, part: Partition, frame: OpenFrame) -> None:
        value = codec.encode(frame.close())
        headers = _headers(f"ticks/{tp.partition}")
        await self._send(
            part, frame.first_offset, self._frames, frame.instrument, value, headers,
            lambda: self.metrics.seconds.observe(time.monotonic() - frame.opened_s),
        )  # fmt: skip
        self._frames_sent += 1
        self.metrics.frames.inc()

    async def _refuse(
        self, topic: str, tp: TopicPartition, part: Partition, record: ConsumerRecord, refusal: BadMessage
    ) -> None:
        given = header_texts(record.headers)
        message = refused(record.offset, record.key or b"", record.value or b"", record.timestamp, given, refusal)
        letter = self._seal.close(dead_letter(Taken(topic, message), tp.partition))
        self.metrics.dead_letters.labels(topic, refusal.reason).inc()
        headers = _headers(f"{topic}/{tp.partition}")
        await self._send(part, record.offset, self._dead_letters, topic, msgspec.json.encode(letter), headers)

    async def _send(
        self,
        part: Partition,
        offset: int,
        topic: str,
        key: str,
        value: bytes,
        headers: list[tuple[str, bytes]],
        on_delivered: Callable[[], None] | None = None,
    ) -> None:
        partition = None if topic == self._dead_letters else kafka.partition_for(key, self._partitions)
        await self._delivery.send(
            part.ledger, offset, topic, key, value, partition=partition, headers=headers, on_delivered=on_delivered
        )

    # Committing.

    async def _settle(self) -> None:
        """Send what is open, wait until all is delivered, commit."""
        await self._send_waited(float("inf"))
        await self._delivery.settled()
        await self._commit()

    async def _commit(self) -> None:
        assigned = self._consumer.assignment()
        offsets = {}
        for tp, part in self._parts.items():
            offset = part.committable()
            if tp in assigned and offset > part.committed:
                offsets[tp] = offset
        if not offsets:
            if all(part.committed == part.ledger.position and not self._lag(tp) for tp, part in self._parts.items()):
                self._moved_s = time.monotonic()  # to have nothing to do is no stall
            return
        if await self._acknowledge(offsets):
            for tp, offset in offsets.items():
                if tp in self._parts:
                    self._parts[tp].committed = offset
            self._moved_s = time.monotonic()

    async def _acknowledge(self, offsets: dict[TopicPartition, int]) -> bool:
        """Commit offsets; tell whether the partitions are still ours."""
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # The group gave the partitions away meanwhile; their next owner reads from the last commit.
            log.info("commit came too late", error=str(error))
            return False
        return True

    async def _upkeep(self) -> None:
        """Once a second: commit, look at secrets, read the gauges, and let the wait follow the number of frames."""
        frames_sent = self._frames_sent
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            if error := kafka.failure([self._consumer._client._sync_task, self._producer.client._sync_task]):
                raise GatewayError(f"Kafka failed the gateway ({error}): restart it, it goes on from its last commit.")
            if told := self._secrets.look():
                log.warning(told)
            await self._commit()
            rate = (self._frames_sent - frames_sent) / COMMIT_EVERY_S
            frames_sent = self._frames_sent
            share = min(1.0, max(LEAST_WAIT, (rate / FULL_WAIT_FRAMES_S) ** 2))
            self._wait_s = self._frame_s * share
            self.metrics.wait.set(self._wait_s)
            self.metrics.lags({tp: self._lag(tp) for tp in self._consumer.assignment()})

    def _lag(self, tp: TopicPartition) -> int:
        part = self._parts.get(tp)
        if part is None or tp not in self._consumer.assignment():
            return 0
        return max(0, (self._consumer.highwater(tp) or 0) - part.ledger.position)

    def _live(self) -> list[str]:
        reasons = []
        still_s = self._pulse.waited_s(self._moved_s)
        if still_s > STALLED_S and any(self._lag(tp) for tp in self._consumer.assignment()):
            reasons.append(f"there is lag, and nothing was committed for {still_s:.0f} s")
        for tp in self._consumer.assignment():
            fetched_ms = self._consumer.last_poll_timestamp(tp) or 0
            silent_s = min(time.time() - fetched_ms / 1000, self._pulse.waited_s(self._assigned_s))
            if silent_s > STUCK_S:
                reasons.append(f"no fetch of {tp.topic}/{tp.partition} was answered for {silent_s:.0f} s")
        return self._pulse.live(reasons)

    def _ready(self) -> list[str]:
        joined = self._joined and not self.stopping.is_set()
        return self._pulse.ready([] if joined else ["not a member of the group"])

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Deliver and commit what was read, before another gateway goes on from there."""
        self._joined = False
        async with self._turn:
            await self._settle()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin anew: reading goes on from what was committed, so whatever is still open comes again."""
        async with self._turn:
            self._parts.clear()
            self._joined = True
            self._moved_s = self._assigned_s = time.monotonic()
        log.info("partitions assigned", partitions=sorted({tp.partition for tp in assigned}))
        # Not here: until this returns no heartbeat is sent, and a partition without a leader tells no offset for long.
        self._untold.put_nowait(list(assigned))

    async def _tell(self) -> None:
        """Say of what was assigned what of it retention had deleted."""
        while True:
            await asyncio.gather(*map(self._tell_lost, await self._untold.get()))

    async def _tell_lost(self, tp: TopicPartition) -> None:
        """Say what retention has deleted before anybody read it, once: the group goes on behind it."""
        try:
            next_offset = await self._consumer.committed(tp)
            begin = (await self._consumer.beginning_offsets([tp]))[tp]
        except KafkaError as error:
            where = {"topic": tp.topic, "partition": tp.partition}
            log.warning("whether retention deleted anything is not known", **where, error=kafka.told(error))
            return
        if next_offset is None or next_offset >= begin or tp not in self._consumer.assignment():
            return
        self.metrics.lost.inc(begin - next_offset)
        log.error(
            "messages were deleted by retention before they were read: keep inputs longer than an outage lasts",
            topic=tp.topic,
            partition=tp.partition,
            count=begin - next_offset,
        )
        if tp not in self._parts:  # else what is read there is committed in its time, and that is more
            await self._acknowledge({tp: begin})


def news_of(document: Document, master: SymbolMaster) -> list[News]:
    """Return the document as news of each instrument that it names, or of the market where it names none."""
    mentions = master.mentions(f"{document.headline}\n{document.body}", document.instruments)
    return [
        News(
            ts_event=document.ts_event,
            ts_available=document.ts_available,
            instrument=instrument,
            document_id=document.document_id,
            headline=document.headline,
            body=document.body,
            source=document.source,
            channel=document.channel,
            language=document.language,
            mentions=mentions,
        )
        for instrument in mentions or [MARKET]
    ]


def _headers(source: str, given: Iterable[tuple[str, bytes]] = ()) -> list[tuple[str, bytes]]:
    """Return where a message comes from, and the trace it belongs to: the given one, else a new one (W3C)."""
    trace = trace_of(header_texts(given)) or f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01"
    return [("source", source.encode()), ("traceparent", trace.encode())]


async def serve(settings: Settings, master: SymbolMaster) -> None:
    """Run a gateway until SIGTERM or SIGINT, and drain it within ``settings.drain_timeout_s``.

    Raises
    ------
    StartupError: it could not start.
    GatewayError: it could not go on, or not drain in time.
    """
    # A tick is some dozen small objects, none in a cycle: collecting after every 700 of them is a tenth of the work.
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)
    gateway = Gateway(settings, master)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    running = asyncio.create_task(gateway.run())
    stopping = asyncio.create_task(gateway.stopping.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        await asyncio.wait_for(running, max(1.0, settings.drain_timeout_s - 2 * CLOSE_S))
    except TimeoutError:
        raise GatewayError(
            f"The gateway did not drain within {settings.drain_timeout_s:g} s: what it had not delivered is not"
            " committed, the next one sends it."
        ) from None
