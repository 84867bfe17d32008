"""Faust's consumer, made to deliver what a fetch brought as one event.

Faust spends some 150 µs of CPU on every event, whatever is in it (four tasks and an `asyncio.wait` a message among
them). An event here is a list of records, and the agent's loop runs once for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import faust
import uvloop
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from monitor import credentials, kafka

#: How long a fetch waits for `FETCH_BYTES` to be there, ms; Faust's waits up to 1,500 for the first. A fetch costs this
#: process and the broker more than what it brings, one for every few messages, so it waits a little for more. Not for
#: long: a client has one fetch under way per broker, over the partitions that it has read empty, and what arrives for
#: the others meanwhile waits for it.
FETCH_WAIT_MS = 5
FETCH_BYTES = 64 * 1024
#: At most this much comes at a time, from one partition where one has it. The broker cuts what it sends at the limit,
#: and what it cut comes again: with 1 MiB for each partition (Kafka's default) a third was for nothing where producers
#: write batches of 1 MB.
FETCH_MAX_BYTES = 4 * 1024 * 1024
#: An end that was told longer ago is none: while the broker is away, messages may gather there.
FRESH_MS = 2_000


#: Batches that may wait for the event loop before no more are fetched.
AHEAD = 2
#: How long the reading thread waits for messages at a time, and looks again where it may not read, s.
READ_S, HELD_S = 0.2, 0.01


class FetchThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer: its fetches wait briefly, and it reads ahead of the event loop.

    Faust asks the thread for every batch. While the loop is busy nobody asks, no fetch is sent for what was read empty,
    and what arrives meanwhile is a round trip away when the loop comes to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ahead: deque[dict[TP, Any] | Exception] = deque()
        self._room = asyncio.Semaphore(AHEAD)
        self._arrived: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start the consumer, and reading; in the thread's loop, as is what follows."""
        await super().on_start()
        self._reading = asyncio.create_task(self._read_ahead())

    async def on_thread_stop(self) -> None:
        """Stop reading, then the consumer."""
        if self._reading is not None:
            self._reading.cancel()
        await super().on_thread_stop()

    async def _read_ahead(self) -> None:
        consumer = self._ensure_consumer()
        while not consumer._closed:
            await self._room.acquire()
            found: dict[TP, Any] | Exception = {}
            while not found and not consumer._closed:
                # Copied at once: Faust's accessor walks them, and the loop's thread holds partitions back meanwhile.
                active = set(self.consumer._active_partitions)
                if not (active and self.consumer.flow_active):
                    await asyncio.sleep(HELD_S)
                    continue
                try:
                    found = await self._fetch_records(consumer, active, READ_S, consumer._max_poll_records)
                except Exception as error:  # for whoever asks, as if it had been read then
                    found = error
            self._ahead.append(found)
            if self._arrived is not None:
                loop, arrived = self._arrived
                loop.call_soon_threadsafe(arrived.set)

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, Any]:
        """Return what was read ahead, at once where there is something; in the daemon's loop."""
        if self._arrived is None:
            self._arrived = asyncio.get_running_loop(), asyncio.Event()
        arrived = self._arrived[1]
        arrived.clear()
        if not self._ahead:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await arrived.wait()
        if not self._ahead:
            return {}
        found = self._ahead.popleft()
        self.thread_loop.call_soon_threadsafe(self._room.release)
        if isinstance(found, Exception):
            raise found
        return found

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms, consumer._fetch_min_bytes = FETCH_WAIT_MS, FETCH_BYTES
        consumer._fetch_max_bytes = consumer._max_partition_fetch_bytes = FETCH_MAX_BYTES
        return consumer


class _Anywhere(dict[TP, int | None]):
    """Faust's note of how far it has read, by which it drops what comes again: lanes do that, and ask for it too."""

    def __missing__(self, _: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass

    def update(self, *_: Any, **__: Any) -> None:
        pass


class BatchConsumer(driver.Consumer):
    """Delivers batches; acknowledgement is the lanes' own (`Intake.commit`), Faust's is not used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Anywhere()

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon, thread_loop=uvloop.new_event_loop())

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        records, _ = await self._wait_next_records(timeout)
        if records and not self.flow_active:
            # Fetched while a rebalance ended: to drop them would lose them, the position has moved on. What is of the
            # former assignment after all, a lane tells by its offset.
            await self.wait(self.can_resume_flow)
        if not records or self.should_stop:
            return
        # All partitions in one event, under the first one's name: lanes tell them apart by their records.
        tp = next(iter(records))
        batch = [record for found in records.values() for record in found]
        generation = self.app.consumer_generation_id
        yield (
            tp,
            ConsumerMessage(
                tp.topic,
                tp.partition,
                batch[0].offset,
                0.0,
                0,
                None,
                None,
                batch,
                None,
                0,
                0,
                tp,
                generation_id=generation,
            ),
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Faust counts gaps to know what it may commit; it does not commit here."""


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with the batching consumer."""

    Consumer = BatchConsumer


class Intake:
    """What the lanes ask of Faust's consumer. It lives in a thread of its own: only plain reads are made across."""

    def __init__(self, app: faust.App) -> None:
        self._app = app

    def failure(self) -> BaseException | None:
        """Return what ended the consumer's membership, its fetching or its reading ahead, None while they live.

        aiokafka raises it to whoever polls, and Faust polls past that: the consumer would just bring nothing more.
        """
        thread = self._app.consumer._thread
        consumer = thread._consumer
        if consumer is None:
            return None
        coordinator, fetcher, client = consumer._coordinator, consumer._fetcher, consumer._client
        tasks = (coordinator._coordination_task, fetcher._fetch_task, client._sync_task, thread._reading)
        return kafka.failure(tasks) or cast(BaseException | None, coordinator._pending_exception)

    def _state(self, topic: str, partition: int) -> Any:
        consumer = self._app.consumer._thread._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        tp = TopicPartition(topic, partition)
        return assignment.state_value(tp) if assignment is not None and tp in assignment.tps else None

    def highwater(self, topic: str, partition: int) -> int | None:
        """Return the offset after the partition's last message, as of the last fetch; None if that is long ago."""
        state = self._state(topic, partition)
        return state.highwater if state is not None and _age_ms(state) < FRESH_MS else None

    def fetched_ms(self, topic: str, partition: int) -> float | None:
        """Return how long ago the broker last answered a fetch of the partition; None if it never has."""
        state = self._state(topic, partition)
        return _age_ms(state) if state is not None and state.timestamp else None

    def position(self, topic: str, partition: int) -> int | None:
        """Return the offset of the next message to fetch; None before the first, and while what was read waits here."""
        if self._app.consumer._thread._ahead:
            return None
        state = self._state(topic, partition)
        return state.position if state is not None and state.has_valid_position else None

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> bool:
        """Acknowledge everything below the given offsets; False where the partition is no longer this worker's."""
        if not offsets:
            return True
        committed = await self._app.consumer._commit_offsets({TP(*tp): offset for tp, offset in offsets.items()})
        return bool(committed)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Fetch from ``offset`` on, where the partition is still this worker's."""
        with contextlib.suppress(IllegalStateError):
            await self._app.consumer.seek_wait({TP(topic, partition): offset})

    def flow(self, topic: str, partition: int, on: bool) -> None:
        """Let a partition's messages come, or hold them back at the broker."""
        consumer = self._app.consumer
        (consumer.resume_partitions if on else consumer.pause_partitions)({TP(topic, partition)})


def _age_ms(state: Any) -> float:
    return time.time() * 1000 - (state.timestamp or 0)


class _NoTables(TableManager):
    async def on_start(self) -> None:
        """Start at once: Faust would give tables a second to come, and here are none."""
        await self._update_channels()
        await self.recovery.start()


class _App(faust.App):
    def _create_directories(self) -> None:
        """Nothing of Faust's is kept on a disk, which might be full."""


def faust_app(settings: Any) -> faust.App:
    """Return the Faust application."""
    session_s = settings.session_timeout_ms / 1000
    app = _App(
        settings.own_group,
        broker=[f"kafka://{server}" for server in settings.bootstrap.split(",")],
        broker_credentials=credentials.of_faust(settings),
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        TableManager=_NoTables,
        # Without tables this is what makes Faust give partition p of all topics to the same worker.
        table_standby_replicas=1,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=64,
        broker_max_poll_records=500,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=kafka.heartbeat_ms(settings) / 1000,
        broker_request_timeout=max(40.0, 2 * session_s),
        broker_commit_interval=3600.0,
        producer_acks=-1,
        loghandlers=[],
    )
    app.transport = BatchTransport(app.conf.broker, app, loop=app.loop)
    return app
