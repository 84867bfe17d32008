"""The thread that reads ahead of the event loop goes on whatever the loop holds back, and is missed where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from monitor.intake import Intake, faust_app
from monitor.settings import Settings

FRAMES = TP("tocsin.frames", 0)


class Changing(set[TP]):
    """Partitions of which some are held back while they are walked."""

    def __iter__(self) -> Iterator[TP]:
        raise RuntimeError("Set changed size during iteration")


def reader(active: set[TP]) -> tuple[Intake, Any]:
    """Return what lanes ask, and its thread, which finds one batch after the other of the partitions asked for."""
    app = faust_app(Settings())
    consumer = cast(Any, app.consumer)
    consumer._active_partitions = active
    thread = consumer._thread
    living = SimpleNamespace(_coordination_task=None, _pending_exception=None, _fetch_task=None, _sync_task=None)
    thread._consumer = SimpleNamespace(
        _closed=False, _max_poll_records=500, _coordinator=living, _fetcher=living, _client=living
    )
    thread.thread_loop = asyncio.get_running_loop()

    async def fetched(_: object, asked: set[TP], *__: object) -> dict[TP, list[str]]:
        await asyncio.sleep(0)
        return {tp: ["a record"] for tp in asked}

    thread._fetch_records = fetched
    return Intake(app), thread


async def test_a_partition_may_be_held_back_while_the_thread_looks_which_are_not() -> None:
    intake, thread = reader(Changing({FRAMES}))
    thread._reading = asyncio.create_task(thread._read_ahead())
    found: list[object] = []
    async with asyncio.timeout(10.0):
        while len(found) < 3:
            found += await thread.getmany(None, 0.1)
    assert found == 3 * [FRAMES]
    assert intake.failure() is None
    assert not thread._reading.done()
    thread._reading.cancel()


async def test_a_thread_that_reads_no_more_has_failed() -> None:
    intake, thread = reader({FRAMES})
    del thread._consumer._closed
    thread._reading = asyncio.create_task(thread._read_ahead())
    with pytest.raises(AttributeError):
        await thread._reading
    assert isinstance(intake.failure(), AttributeError)
