from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from monitor.journal import FencedError, JournalWriter, valid_entries
from schemas import journal
from schemas.journal import Claim, Clock, Entry, Run


class Metadata(NamedTuple):
    offset: int


class Log:
    """One partition: what a producer appends stands in ``records``."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    async def send_and_wait(self, topic: str, value: bytes, **_: Any) -> Metadata:
        self.records.append(value)
        return Metadata(len(self.records) - 1)

    def pairs(self) -> list[tuple[int, bytes]]:
        return list(enumerate(self.records))


def writer(log: Log) -> JournalWriter:
    return JournalWriter(log, "journal", 0)  # type: ignore[arg-type]


def test_an_authors_entries_are_read_back_in_order() -> None:
    log = Log()
    author = writer(log)

    async def write() -> None:
        await author.claim("a")
        await author.append(0, [Run("frames", 3, 0), Clock(5)])
        await author.append(3, [Run("news", 1, 0)])

    asyncio.run(write())
    assert [entry.ordinal for entry in valid_entries(log.pairs(), -1)] == [0, 3]


def test_what_a_predecessor_writes_after_a_claim_is_void_and_tells_it_so() -> None:
    #   old  claim e0 .......... e1(void)
    #   new  ........ claim e2 ..
    log = Log()
    old, new = writer(log), writer(log)

    async def write() -> None:
        await old.claim("old")
        await old.append(0, [Run("frames", 1, 0)])
        await new.claim("new")
        await new.append(1, [Run("frames", 2, 1)])
        with pytest.raises(FencedError, match="another worker has taken the partition over"):
            await old.append(1, [Run("news", 9, 0)])

    asyncio.run(write())
    assert [entry.steps for entry in valid_entries(log.pairs(), -1)] == [[Run("frames", 1, 0)], [Run("frames", 2, 1)]]


def test_reading_from_a_checkpoint_starts_with_its_epoch() -> None:
    entries = [Entry(7, 0, [Clock(1)]), Entry(7, 0, [Clock(2)])]
    pairs = [(8, journal.encode(entries[0])), (9, journal.encode(Claim("x"))), (10, journal.encode(entries[1]))]
    assert valid_entries(pairs, 7) == entries[:1]
    assert valid_entries(pairs, -1) == []
