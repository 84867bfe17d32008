from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monitor.fence import EXIT_FENCED, EXIT_TASK, Fence, vital


class Ended(Exception):
    pass


def end(sentence: str, code: int) -> None:
    raise Ended(sentence, code)


class Client:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, node: int, request: str) -> str:
        self.sent.append(request)
        return "ok"


class Producer:
    def __init__(self) -> None:
        self.client = Client()


def test_a_worker_frozen_past_its_limit_sends_nothing() -> None:
    now = [0.0]
    fence = Fence(3.0, clock=lambda: now[0], end=end)
    producer: Any = Producer()
    fence.guard(producer)
    fence.renew()
    asyncio.run(producer.client.send(0, "before"))
    now[0] = 60.0
    with pytest.raises(Ended) as error:
        asyncio.run(producer.client.send(0, "after"))
    assert error.value.args[1] == EXIT_FENCED
    assert "frozen for 60.0 s" in error.value.args[0]
    client = producer.client
    assert client.sent == ["before"]


def test_a_frozen_worker_cannot_renew_itself() -> None:
    now = [0.0]
    fence = Fence(3.0, clock=lambda: now[0], end=end)
    fence.renew()
    now[0] = 2.9
    fence.renew()
    now[0] = 6.0
    with pytest.raises(Ended):
        fence.renew()


def test_a_worker_that_starts_may_wait_for_a_core_and_one_that_has_joined_its_group_may_not() -> None:
    now = [0.0]
    fence = Fence(3.0, clock=lambda: now[0], end=end)
    now[0] = 60.0
    fence.check()
    assert fence.take_worst_gap() == 0.0
    fence.renew()
    now[0] = 63.1
    with pytest.raises(Ended):
        fence.check()


def test_the_longest_gap_is_told_once() -> None:
    now = [0.0]
    fence = Fence(3.0, clock=lambda: now[0], end=end)
    for at in (0.0, 0.1, 1.1, 1.2):
        now[0] = at
        fence.renew()
    assert fence.take_worst_gap() == pytest.approx(1.0)
    assert fence.take_worst_gap() == 0.0


async def test_a_task_that_fails_ends_the_process_with_its_reason() -> None:
    ends: list[tuple[str, int]] = []

    async def fail() -> None:
        raise ValueError("no such gauge")

    with pytest.raises(ValueError, match="no such gauge"):
        await vital("sampling", fail(), lambda sentence, code: ends.append((sentence, code)))
    await asyncio.sleep(0)
    ((sentence, code),) = ends
    assert sentence.startswith("sampling failed (ValueError('no such gauge')): the process ends")
    assert code == EXIT_TASK


async def test_a_task_that_is_cancelled_or_done_ends_nothing() -> None:
    ends: list[tuple[str, int]] = []
    tasks = [vital("waiting", asyncio.sleep(s), lambda *ended: ends.append(ended)) for s in (0, 60)]
    await tasks[0]
    tasks[1].cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert ends == []
