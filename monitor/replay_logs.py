"""Where a replay reads a partition from: the broker as it stands now, or a recording."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

import msgspec

from monitor import kafka
from monitor.arrivals import header_texts
from monitor.pseudonyms import Pseudonyms
from monitor.recordings import Message
from monitor.settings import Settings
from schemas.alerts import Alert, AlertEvent

_event = msgspec.json.Decoder(AlertEvent)
#: Offset, key, value, Kafka's timestamp in ms, headers: as `monitor.arrivals.pending` takes them.
Read = tuple[int, bytes, bytes, int, dict[str, str]]
Log = Callable[[str, int], AsyncGenerator[Read, None]]


class Partitioned(Protocol):
    """A recording that holds whole partitions."""

    def partition(self, topic: str, partition: int) -> Iterable[Message]:
        """Return the messages of one partition in order of offset."""
        ...


def broker(settings: Settings) -> Log:
    """Return what reads the messages of a partition that are on the broker now, with pseudonyms for accounts."""
    names = Pseudonyms.of(settings)

    async def read(topic: str, partition: int) -> AsyncGenerator[Read, None]:
        name = kafka.full_name(settings.prefix, topic)
        async with kafka.reader(settings) as consumer:
            end = (await kafka.end_offsets(consumer, name, [partition]))[partition]
            async for r in kafka.read_partition(consumer, name, partition, 0, end):
                key, value = r.key or b"", r.value or b""
                if names is not None:
                    key, value = names.for_recording(topic, key, value, r.timestamp)
                yield r.offset, key, value, r.timestamp, header_texts(r.headers)

    return read


def recorded(recording: Partitioned) -> Log:
    """Return what reads the messages of a partition as a recording holds them."""

    async def read(topic: str, partition: int) -> AsyncGenerator[Read, None]:
        for m in recording.partition(topic, partition):
            yield m.offset, m.key, m.value, m.timestamp_ms, header_texts(m.headers)

    return read


async def alerts_on_broker(settings: Settings, partition: int) -> list[Alert]:
    """Return the alerts of a partition as they stand on the broker, in order."""
    async with kafka.reader(settings) as consumer:
        name = kafka.full_name(settings.prefix, "alerts")
        end = (await kafka.end_offsets(consumer, name, [partition]))[partition]
        records = kafka.read_partition(consumer, name, partition, 0, end)
        return [_event.decode(record.value).data async for record in records]
