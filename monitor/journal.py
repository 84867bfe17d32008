"""Writing and reading one partition's journal.

The journal has a single author at a time. It writes a `Claim`, whose offset is its epoch; every later delivery must
come back with the very next offset. If it does not, somebody else has written, and this worker is no longer the owner:
it stops before it sends what the entry covers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaProducer

from schemas import journal
from schemas.journal import Claim, Entry, Step


class FencedError(RuntimeError):
    """Another worker owns the partition now."""


def valid_entries(messages: Iterable[tuple[int, bytes]], epoch: int) -> list[Entry]:
    """Return the entries that count among ``(offset, value)``, given the epoch that held before the first.

    An entry of an epoch that a later claim has ended is void.
    """
    entries = []
    for offset, value in messages:
        record = journal.decode(value)
        if isinstance(record, Claim):
            epoch = offset
        elif record.epoch == epoch:
            entries.append(record)
    return entries


class JournalWriter:
    """The author of one partition's journal."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self.epoch = -1
        self.end = 0

    async def claim(self, owner: str) -> None:
        """Become the author: what predecessors write from here on is void."""
        metadata = await self._producer.send_and_wait(
            self._topic, journal.encode(Claim(owner)), partition=self._partition, key=b"claim"
        )
        self.epoch = metadata.offset
        self.end = metadata.offset + 1

    async def append(self, ordinal: int, steps: list[Step]) -> None:
        """Write an entry and wait until it is delivered.

        Raises
        ------
        FencedError
            Somebody else has written since this author's last entry.
        """
        metadata = await self._producer.send_and_wait(
            self._topic, journal.encode(Entry(self.epoch, ordinal, steps)), partition=self._partition, key=b"entry"
        )
        if metadata.offset != self.end:
            raise FencedError(
                f"{self._topic}/{self._partition}: this worker's entry was expected at offset {self.end} and stands at "
                f"{metadata.offset}: another worker has taken the partition over"
            )
        self.end += 1


async def read_journal(messages: AsyncIterator[tuple[int, bytes]], epoch: int) -> list[Entry]:
    """Return the entries that count among ``(offset, value)`` pairs; ``epoch`` held before the first of them."""
    return valid_entries([pair async for pair in messages], epoch)
