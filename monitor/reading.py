"""Reading topics of ours for people: what is there already, then what comes."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from monitor import kafka
from monitor.errors import StartupError
from monitor.settings import Settings

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def since_ns(text: str, now_ns: int | None = None, option: str = "--since") -> int:
    """Return the time that ``text`` names, ns UTC: `beginning`, an age such as `90s`, `15m`, `1h`, `7d`, or ISO 8601.

    Raises
    ------
    StartupError: it is none of these, or no time that 64 bits of ns hold; ``option`` is what the sentence begins with.

    Example
    -------
    >>> since_ns("1h", now_ns=7_200_000_000_000)
    3600000000000
    """
    if text == "beginning":
        return 0
    if age := re.fullmatch(r"(\d+)([smhd])", text):
        now = time.time_ns() if now_ns is None else now_ns
        return max(0, now - int(age[1]) * _UNITS_S[age[2]] * 1_000_000_000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise StartupError(
            f"{option}: expected `beginning`, an age such as 15m, 1h or 7d, or a time in ISO 8601, found {text!r}."
        ) from None
    ns = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1) * 1000
    if not 0 <= ns < 2**63:
        raise StartupError(f"{option}: expected a time from 1970 to 2262, found {text!r}.")
    return ns


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
