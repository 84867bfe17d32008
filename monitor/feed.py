"""Playing a recording into Kafka: at the speed of its own times, N times faster, or flat out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from monitor import kafka
from monitor.converters.messages import record_message, single_orders, single_ticks
from monitor.errors import StartupError
from monitor.recordings import Message, Recording
from monitor.settings import Settings
from schemas import codec, frames, media, order_frames
from schemas.order_frames import AnyFrame
from schemas.records import Document, News
from schemas.topics import BY_NAME

#: Topics that are fed; what else a recording may hold (journal, scores, alerts, …) the monitor writes itself.
INPUTS = ("ticks", "documents", "frames", "orders", "news", "transcripts", "audio", "charts", "transfers", "statements")
#: What feeds send → what the gateway makes of it. A recording that holds both is fed one of the two.
_PACKED = {"ticks": "frames", "documents": "news"}
_IN_FLIGHT = 20_000
_REPORT_S = 0.1

#: Told of each delivered message: what it was, topic (full name), partition, offset, and `time.monotonic` at sending.
Delivered = Callable[[Message, str, int, int, float], None]


@dataclass(slots=True)
class Played:
    """How far a feed has come.

    ``position`` counts the recording's messages up to the first that is not known to be delivered: feeding goes on
    there; ``total`` is 0 where nobody knows yet. ``sent`` counts Kafka's messages. ``at_ns`` is ``ts_available`` of
    the latest as it was sent, int64 ns UTC.
    """

    total: int = 0
    position: int = 0
    sent: int = 0
    at_ns: int = 0
    stopped: bool = False


class FeedError(StartupError):
    """Feeding broke off; ``played`` says where, and the message how to go on."""

    def __init__(self, message: str, played: Played) -> None:
        super().__init__(message)
        self.played = played


def topics_of(recording: Recording, raw: bool = False) -> tuple[str, ...]:
    """Return the topics that a feed sends of a recording: single ticks and documents if ``raw``, else frames and news.

    Where a recording holds only the other of the two, that one is sent, unpacked if ``raw``.
    """
    held = [topic for topic in recording.topics if topic in INPUTS]
    unwanted = {(packed if raw else single) for single, packed in _PACKED.items() if single in held and packed in held}
    return tuple(topic for topic in held if topic not in unwanted)


def unpacked(messages: Iterable[tuple[int, Message]]) -> Iterator[tuple[int, Message]]:
    """Turn frames into single ticks, order frames into single events and news into documents.

    Other messages, and numbers, pass as they are. The rows of a frame follow one another where it stood. Of the news
    that one document became, which stand side by side in canonical order, the first is turned back.
    """
    at_ns, seen = -1, set[str]()
    for number, message in messages:
        if message.topic == "frames":
            for tick in single_ticks(frames.decode(message.value, message.key)):
                yield number, record_message("ticks", tick)
        elif message.topic == "orders" and message.value.startswith(order_frames.MAGIC):
            for event in single_orders(order_frames.decode(message.value, message.key)):
                yield number, record_message("orders", event)
        elif message.topic == "news":
            news = msgspec.json.decode(message.value, type=News)
            if message.ts_available != at_ns:
                at_ns, seen = message.ts_available, set()
            if news.document_id not in seen:
                seen.add(news.document_id)
                yield number, record_message("documents", _document(news))
        else:
            yield number, message


def _document(news: News) -> Document:
    named = news.mentions or [name for name in [news.instrument] if name != "market"]
    return Document(
        ts_event=news.ts_event,
        ts_available=news.ts_available,
        document_id=news.document_id,
        headline=news.headline,
        body=news.body,
        source=news.source,
        channel=news.channel,
        language=news.language,
        instruments=named,
    )


def shifted(message: Message, shift_ns: int) -> Message:
    """Return the message with every time of its envelope and its value moved by ``shift_ns``."""
    if message.value.startswith(order_frames.MAGIC):
        read = order_frames.decode if message.topic == "orders" else frames.decode
        frame: AnyFrame = read(message.value, message.key)
        times = {name: getattr(frame, name) + shift_ns for name in ("ts_event", "ts_available")}
        value = codec.encode(msgspec.structs.replace(frame, **times))
    elif BY_NAME[message.topic].codec == "media":
        header, payload = media.split(message.value)
        value = media.join(_shifted_json(header, shift_ns), payload)
    else:
        value = _shifted_json(message.value, shift_ns)
    return replace(
        message, value=value, ts_event=message.ts_event + shift_ns, ts_available=message.ts_available + shift_ns
    )


def _shifted_json(value: bytes, shift_ns: int) -> bytes:
    record = msgspec.json.decode(value, type=dict[str, Any])
    for name in ("ts_event", "ts_available"):
        if record.get(name):
            record[name] += shift_ns
    return msgspec.json.encode(record)


def shift_to_now(first_ns: int, last_ns: int, speed: float | None, now_ns: int) -> int:
    """Return by how much to move a recording so that it never runs ahead of the clock while it is fed.

    Gaps between messages stay as they are, so that windows see what was recorded. At speed 1 the recording begins now;
    faster, it begins in the past and its end meets the clock when the last message is sent.

    Example
    -------
    >>> shift_to_now(0, 600, 1.0, 10_000), shift_to_now(0, 600, 60.0, 10_000), shift_to_now(0, 600, None, 10_000)
    (10000, 9410, 9400)
    """
    length_ns = last_ns - first_ns
    taken_ns = 0 if speed is None else round(length_ns / speed)
    return now_ns - first_ns - max(0, length_ns - taken_ns)


async def play(
    recording: Recording,
    settings: Settings,
    *,
    speed: float | None,
    topics: Collection[str] | None = None,
    start: int = 0,
    raw: bool = False,
    restamp: bool = False,
    stop: asyncio.Event | None = None,
    flow: asyncio.Event | None = None,
    on_delivered: Delivered | None = None,
    on_progress: Callable[[Played], None] | None = None,
) -> Played:
    """Send a recording's inputs to Kafka in canonical order, keyed and partitioned as producers of their own would.

    The producer is idempotent, so each key's messages arrive once and in order; all deliveries are awaited.

    Parameters
    ----------
    speed
        Multiple of the recording's own pace; None for as fast as the broker takes it.
    topics
        Some of `topics_of`; all of them if None.
    start
        Messages of the recording to leave out: the ``position`` of a feed that stopped.
    raw
        Send single ticks and documents, for the gateway, instead of frames and news.
    restamp
        Move all times to now, see `shift_to_now`.
    stop
        Once it is set nothing more is sent, and what is on its way is awaited.
    flow
        While it is clear nothing is sent: for a broker that keeps little, and a reader that falls behind.

    Raises
    ------
    StartupError
        No broker answers, or a topic is missing.
    FeedError
        The broker refused a message or went away for too long.
    RecordingError
        The recording cannot be read.
    """
    names = [topic for topic in topics_of(recording, raw) if topics is None or topic in topics]
    played = Played(total=recording.rows(names), position=start)
    numbered: Iterator[tuple[int, Message]] = islice(enumerate(recording.messages(names)), start, None)
    if raw:
        numbered = unpacked(numbered)
    if restamp and (first := next(numbered, None)) is not None:
        shift_ns = shift_to_now(first[1].ts_available, recording.last_ns, speed, time.time_ns())
        numbered = ((number, shifted(message, shift_ns)) for number, message in chain([first], numbered))
    try:
        await send(
            numbered,
            settings,
            dict.fromkeys(_target(name, raw) for name in names),
            played,
            speed=speed,
            stop=stop,
            flow=flow,
            on_delivered=on_delivered,
            on_progress=on_progress,
        )
    except FeedError as error:
        raise FeedError(
            f"{error} When it is well again, go on with --from {played.position} of {played.total}.", played
        ) from error
    if not played.stopped:
        played.position = played.total
    return played


async def send(
    numbered: Iterable[tuple[int, Message]],
    settings: Settings,
    topics: Collection[str],
    played: Played,
    *,
    speed: float | None,
    stop: asyncio.Event | None = None,
    flow: asyncio.Event | None = None,
    on_delivered: Delivered | None = None,
    on_progress: Callable[[Played], None] | None = None,
) -> None:
    """Send messages of ``topics`` at their pace and note in ``played`` how far they came; see `play`.

    Messages of one number follow one another, and are not parted by a stop.

    Raises
    ------
    StartupError
        No broker answers, or a topic is missing.
    FeedError
        The broker refused a message or went away for too long.
    """
    await kafka.require_topics(settings, topics)
    producer = AIOKafkaProducer(
        **kafka.client_options(settings),
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=kafka.MAX_MESSAGE_BYTES,
    )
    await kafka.start(producer, settings)
    run = _Run(producer, settings.prefix, played, on_delivered, on_progress)
    stop = stop or asyncio.Event()
    begun_s, begun_ns, last = time.monotonic(), 0, -1
    try:
        for number, message in numbered:
            begun_ns = begun_ns or message.ts_available
            if speed is not None:
                await _until(begun_s + (message.ts_available - begun_ns) / 1e9 / speed, stop)
            if stop.is_set() and number != last:  # not between the ticks of one frame
                played.stopped = True
                break
            last = number
            if flow is not None:
                await flow.wait()
            await run.send(message, number)
            played.at_ns = message.ts_available
        await run.finish()
    except KafkaError as error:
        raise FeedError(
            f"The broker at {settings.bootstrap} did not take a message ({type(error).__name__}: {error}) after"
            f" {played.position} were delivered.",
            played,
        ) from error
    finally:
        await producer.stop()


def stopping() -> asyncio.Event:
    """Return an event of the running loop that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _target(topic: str, raw: bool) -> str:
    return {packed: single for single, packed in _PACKED.items()}.get(topic, topic) if raw else topic


async def _until(due_s: float, stop: asyncio.Event) -> None:
    """Wait until ``due_s`` of `time.monotonic`, or for ``stop``. Two milliseconds are not worth a timer."""
    wait_s = due_s - time.monotonic()
    if wait_s > 0.002:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)


class _Run:
    """Messages on their way: at most `_IN_FLIGHT`, and how many from the front are delivered."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        prefix: str,
        played: Played,
        on_delivered: Delivered | None,
        on_progress: Callable[[Played], None] | None,
    ) -> None:
        self._producer = producer
        self._prefix = prefix
        self._played = played
        self._on_delivered = on_delivered
        self._on_progress = on_progress
        self._flying: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._reported_s = 0.0

    async def send(self, message: Message, number: int) -> None:
        future = await self._producer.send(
            self._prefix + message.topic,
            message.value,
            key=message.key,
            # The embedded broker gives every topic several.
            partition=0 if BY_NAME[message.topic].partitions == 1 else None,
            headers=list(message.headers),
        )
        now_s = time.monotonic()
        future.add_done_callback(partial(self._landed, message, now_s))
        self._flying.append((future, number))
        self._played.sent += 1
        # A send that finds room in its batch does not yield, and the sender needs its turns.
        if not self._played.sent % 100:
            await asyncio.sleep(0)
        self._land()
        while len(self._flying) >= _IN_FLIGHT:
            await self._flying[0][0]
            self._land()
        if self._on_progress is not None and now_s - self._reported_s >= _REPORT_S:
            self._reported_s = now_s
            self._on_progress(self._played)

    async def finish(self) -> None:
        if self._flying:
            last = self._flying[-1][1]
            while self._flying:
                await self._flying[0][0]
                self._land()
            self._played.position = last + 1
        if self._on_progress is not None:
            self._on_progress(self._played)

    def _land(self) -> None:
        while self._flying and self._flying[0][0].done():
            future, number = self._flying.popleft()
            future.result()
            # Unpacked, one message became several: it is played once the next one's turn has come.
            self._played.position = number

    def _landed(self, message: Message, sent_s: float, future: asyncio.Future[Any]) -> None:
        if self._on_delivered is not None and not future.cancelled() and future.exception() is None:
            metadata = future.result()
            self._on_delivered(message, metadata.topic, metadata.partition, metadata.offset, sent_s)
