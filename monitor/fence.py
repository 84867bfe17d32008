"""A worker that was frozen sends nothing when it wakes.

A thread of the process cannot tell that it was stopped (SIGSTOP, a paused machine), but the monotonic clock goes on.
The fence is renewed by a short timer of the event loop; every request to a broker that writes something is checked
against it at the last moment before the socket. Past half the session's timeout another worker may own the partitions,
so the process ends at once. (Its journal entries would be void anyway, see `monitor.journal`.)

It holds from its first renewal on, before the worker joins its group: one that is starting owns nothing yet, and may
wait for a core as long as it must.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from asyncio import Task
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaProducer

log = structlog.get_logger(__name__)

RENEWED_EVERY_S = 0.1
EXIT_FENCED = 71
EXIT_TASK = 74


def end_process(sentence: str, code: int) -> NoReturn:
    """End the process at once, without any further sending."""
    sys.stderr.write(json.dumps({"level": "critical", "event": sentence}) + "\n")
    sys.stderr.flush()
    os._exit(code)


def vital(name: str, work: Coroutine[Any, Any, None], end: Callable[[str, int], Any] = end_process) -> Task[None]:
    """Start a task that the process must not go on without: if it fails, the process ends with its reason."""

    def ended(task: Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.critical(f"{name} failed", exc_info=error)
            end(f"{name} failed ({error!r}): the process ends, another takes over from the journal", EXIT_TASK)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


class Fence:
    """Knows when the event loop last ran; ends the process where that is too long ago."""

    def __init__(
        self,
        limit_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[str, int], Any] = end_process,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._end = end
        self._renewed_s = math.inf
        self._worst_gap_s = 0.0

    def check(self) -> None:
        """End the process if it has been frozen for longer than the limit."""
        gap_s = self._clock() - self._renewed_s
        if gap_s > self._limit_s:
            self._end(
                f"frozen for {gap_s:.1f} s, more than {self._limit_s:.1f} s: another worker may own its partitions",
                EXIT_FENCED,
            )

    def renew(self) -> None:
        """Note that the event loop runs; checks first, so that a frozen worker cannot renew itself."""
        self.check()
        now_s = self._clock()
        self._worst_gap_s = max(self._worst_gap_s, now_s - self._renewed_s)
        self._renewed_s = now_s

    def take_worst_gap(self) -> float:
        """Return the longest gap in seconds since the last call."""
        worst_s, self._worst_gap_s = self._worst_gap_s, 0.0
        return worst_s

    async def keep(self) -> None:
        """Renew until cancelled."""
        while True:
            self.renew()
            await asyncio.sleep(RENEWED_EVERY_S)

    def guard(self, producer: AIOKafkaProducer) -> AIOKafkaProducer:
        """Check the fence before each of the producer's requests goes out."""
        send = producer.client.send

        async def checked(*args: Any, **kwargs: Any) -> Any:
            self.check()
            return await send(*args, **kwargs)

        producer.client.send = checked
        return producer
