"""What a checkpoint's records are to Kafka."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer

from monitor import checkpoints, kafka
from monitor.checkpoints import CLOSING_KEY, Closing, encode_closing, seal
from monitor.outbox import Outbox
from monitor.settings import Settings
from monitor.worker import checkpoint_records

CLOSING = Closing(epoch=1, journal=0, ordinal=7, offsets={}, alerts=0, clock_ns=0, latest_ns=0, level=0, config="c")


@pytest.mark.integration
async def test_what_was_written_is_read_from_the_full_checkpoint_on_and_the_forgotten_are_tombstones(
    topics: Settings,
) -> None:
    closing = encode_closing(CLOSING)
    producer = AIOKafkaProducer(**kafka.client_options(topics), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        outbox = Outbox(producer, prefix=topics.prefix, source="/t/1", checkpoints="checkpoints", partition=1)
        for key in (b"A", b"B", b"C"):
            await outbox.write_checkpoint([(key, seal(1, 0, b"old " + key))])
        full = await outbox.write_checkpoint([(key, seal(1, 0, bytes(100_000) + key)) for key in (b"A", b"B")])
        last = await outbox.write_checkpoint([(CLOSING_KEY, seal(1, 0, closing))])
        assert (full, last) == (3, 5)
        await outbox.write_checkpoint([(b"A", seal(1, full, b"")), (CLOSING_KEY, seal(1, full, closing))])
        await outbox.write_checkpoint([(b"B", seal(1, full, b""))])  # its closing record never comes
    finally:
        await producer.stop()

    async with kafka.reader(topics) as consumer:
        name = kafka.full_name(topics.prefix, "checkpoints")
        end = (await kafka.end_offsets(consumer, name, [1]))[1]
        records = [record async for record in kafka.read_partition(consumer, name, 1, 0, end)]
        read: list[bool] = []
        loaded = await checkpoints.load(checkpoint_records(consumer, name, 1, lambda: read.append(True)), end)
    assert len(read) >= end - full
    assert [record.offset for record in records if record.value is None] == [6, 8]
    assert len(records[full].value) < 1_000
    assert (loaded.start, loaded.end) == (full, 9)
    assert loaded.states == {"B": bytes(100_000) + b"B"}
    assert loaded.leftovers == {"B"}
    assert loaded.closing == CLOSING
