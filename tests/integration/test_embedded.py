"""The same daemon on librdkafka's in-memory broker: what runs where there is neither Java nor Docker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from monitor import kafka
from monitor.settings import Settings
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_slice_of_the_day_rings_and_a_killed_worker_goes_on(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(embedded, clock="data", checkpoint_interval_s=1.0, ladder_down_s=0.0)
    part = day()[:4_500]
    middle = len(part) // 2
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, part[:middle]) as feed:
            feed.finish()
        until(lambda: watch.acknowledged() == middle, 90, "the first half is read", [worker])
        with Feed(settings, part[middle:], rate=600) as feed:
            until(lambda: watch.acknowledged() > middle + 200, 60, "some of the second", [worker])
            worker.kill()
            worker.start()
            feed.finish()
        until(lambda: watch.acknowledged() == len(part), 60, "all is read", [worker])
        recovered = worker.events("recovered")
        assert sum(event["messages"] for event in recovered) > middle
        assert sum(event["keys"] for event in recovered) > 0
        assert worker.drain() == 0
        assert worker.exits == [-signal.SIGKILL, 0]
    account(settings).check(messages=len(part), alerts=3)


def test_requests_overlap_and_each_partition_keeps_its_order(
    embedded: str, settings_of: Callable[..., Settings]
) -> None:
    most, offsets = asyncio.run(_send_by_turns(embedded, kafka.full_name(settings_of(embedded).prefix, "scores")))
    assert most == 2
    assert offsets == {0: list(range(20)), 1: list(range(20))}


async def _send_by_turns(bootstrap: str, topic: str) -> tuple[int, dict[int, list[int]]]:
    """Send to two partitions; return how many requests were under way at most, and the offsets given, in order."""
    producer = kafka.overlapping(AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True))
    under_way = most = 0
    async with producer:
        send = producer.client.send

        async def slowly(*arguments: Any, **options: Any) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            answer = await send(*arguments, **options)
            under_way -= 1
            return answer

        producer.client.send = slowly
        sent = []
        for number in range(40):
            sent.append((number % 2, await producer.send(topic, b"%d" % number, partition=number % 2)))
            await asyncio.sleep(0.002)
        offsets: dict[int, list[int]] = {0: [], 1: []}
        for partition, delivery in sent:
            offsets[partition].append((await delivery).offset)
    return most, offsets
