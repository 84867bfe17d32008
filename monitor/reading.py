"""Reading topics of ours for people: what is there already, then what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from monitor import kafka
from monitor.errors import StartupError
from monitor.settings import Settings
from schemas.errors import UNREADABLE

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def history(
    consumer: AIOKafkaConsumer, settings: Settings, topic: str, since: int = 0
) -> tuple[AsyncIterator[ConsumerRecord], dict[int, int]]:
    """Return the messages of a topic (without prefix) from the first with a timestamp of ``since`` (ns) or later on,
    and where each partition ends. Among them are earlier ones that came after it.

    ``consumer`` is one of `kafka.reader`, and reads nothing else meanwhile.

    Raises
    ------
    StartupError: the topic is missing.
    """
    if problems := await kafka.check_topics(settings, [topic]):
        raise StartupError(" ".join(problems))
    name = kafka.full_name(settings.prefix, topic)
    partitions = range((await kafka.partition_counts(settings))[name])
    ends = await kafka.end_offsets(consumer, name, partitions)
    starts = dict.fromkeys(partitions, 0)
    if since and not await kafka.is_embedded(settings):
        times = {TopicPartition(name, partition): since // 1_000_000 for partition in partitions}
        for tp, found in (await consumer.offsets_for_times(times)).items():
            starts[tp.partition] = ends[tp.partition] if found is None else found.offset
    records = (
        record
        for partition, end in ends.items()
        async for record in kafka.read_partition(consumer, name, partition, starts[partition], end)
    )
    return records, ends


async def records(
    consumer: AIOKafkaConsumer, settings: Settings, topic: str, record: type[T], since_ns: int = 0
) -> AsyncIterator[T]:
    """Yield the records of a topic, as `history` does; what is none, and stays there, is told and passed over."""
    decode = msgspec.json.Decoder(record).decode
    found, _ = await history(consumer, settings, topic, since_ns)
    async for one in found:
        try:
            value = decode(one.value or b"")
        except UNREADABLE as error:
            place = f"{one.topic}/{one.partition} offset {one.offset}"
            log.warning("a message is passed over", place=place, expected=record.__name__, reason=str(error))
            continue
        yield value


async def follow(
    consumer: AIOKafkaConsumer, settings: Settings, topic: str, ends: dict[int, int]
) -> AsyncIterator[ConsumerRecord]:
    """Yield what comes after ``ends``, without end."""
    name = kafka.full_name(settings.prefix, topic)
    consumer.assign([TopicPartition(name, partition) for partition in ends])
    for partition, end in ends.items():
        consumer.seek(TopicPartition(name, partition), end)
    while True:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                yield record
