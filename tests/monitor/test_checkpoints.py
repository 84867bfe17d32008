"""Rows read downwards as the log; a checkpoint is what stands above its closing record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from monitor.checkpoints import CLOSING_KEY, Closing, Loaded, encode_closing, load, seal


def closing(ordinal: int, epoch: int = 1) -> tuple[bytes, bytes]:
    offsets = {"frames": ordinal}
    record = Closing(
        epoch=epoch, journal=0, ordinal=ordinal, offsets=offsets, alerts=0, clock_ns=0, latest_ns=0, level=0, config="c"
    )
    return CLOSING_KEY, seal(epoch, encode_closing(record))


def state(key: str, value: bytes, epoch: int = 1) -> tuple[bytes, bytes]:
    return key.encode(), seal(epoch, value)


def read(*records: tuple[bytes, bytes]) -> Loaded:
    async def log() -> AsyncIterator[tuple[bytes, bytes]]:
        for record in records:
            yield record

    return asyncio.run(load(log()))


def test_an_empty_log_is_no_checkpoint() -> None:
    assert read() == Loaded(None, {}, set())


def test_the_last_complete_checkpoint_counts() -> None:
    loaded = read(state("A", b"1"), state("B", b"1"), closing(10), state("A", b"2"), closing(20))
    assert loaded.states == {"A": b"2", "B": b"1"}
    assert loaded.closing is not None
    assert loaded.closing.ordinal == 20


def test_a_checkpoint_without_its_closing_record_is_void_and_its_keys_are_named() -> None:
    loaded = read(state("A", b"1"), closing(10), state("A", b"2"), state("C", b"2"))
    assert loaded.states == {"A": b"1"}
    assert loaded.leftovers == {"A", "C"}


def test_a_successors_checkpoint_does_not_complete_its_predecessors() -> None:
    loaded = read(state("A", b"1"), closing(10), state("A", b"2"), state("B", b"9", epoch=5), closing(12, epoch=5))
    assert loaded.states == {"A": b"1", "B": b"9"}
    assert loaded.leftovers == set()


def test_what_a_replaced_worker_still_writes_is_void() -> None:
    loaded = read(state("A", b"5", epoch=5), closing(50, epoch=5), state("A", b"1", epoch=1), closing(60, epoch=1))
    assert loaded.states == {"A": b"5"}
    assert loaded.closing is not None
    assert loaded.closing.ordinal == 50


def test_compaction_that_removed_older_closing_records_changes_nothing() -> None:
    # The log before: A1 closing10 B2 closing20. Compaction keeps a key's last record.
    assert read(state("A", b"1"), state("B", b"2"), closing(20)).states == {"A": b"1", "B": b"2"}
