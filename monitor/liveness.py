"""What a worker's probes go by: liveness is progress, not breath.

A lane that has messages waiting and applies none, a topic whose fetches are no longer answered, checkpoints that
stopped, a recovery that does not get on, or a membership that was lost, fail the probe. (An event loop that stalls
answers no probe at all.)

A broker that does not answer is no failure of the worker's: it could not even start again, and its lanes go on when
the broker is back. The probe then holds its judgement (readiness fails), but not for ever: an address that has moved
away is asked for anew by a restart only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.lane import Lane
    from monitor.worker import Worker

#: A lane with messages waiting that has applied none for this long is stuck, in seconds.
STUCK_S = 30.0
#: How often the broker is asked for a sign of life, and after how long without one it counts as away.
BEAT_S = 5.0
AWAY_S = 15.0
#: A broker that has been away for as long is worth a restart.
GIVE_UP_S = 900.0
#: By how much a machine's clock may be set right between two looks without a word.
SET_RIGHT_S = 2.0


class Pulse:
    """Whether the broker answers. ``ask`` says so, and may take its time."""

    def __init__(self, ask: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._answered_s = self.since_s = clock()

    async def keep(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Ask once."""
        if await self._ask():
            if self.away_s:
                self.since_s = self._clock()
            self._answered_s = self._clock()

    @property
    def away_s(self) -> float:
        """For how long the broker has been away, 0 where it is there; ``since_s`` says since when it has been there."""
        silent_s = self._clock() - self._answered_s
        return silent_s if silent_s > AWAY_S else 0.0

    def waited_s(self, since_s: float) -> float:
        """Return how long has passed since then, not counting what was before the broker came (back)."""
        return self._clock() - max(since_s, self.since_s)

    def live(self, reasons: list[str]) -> list[str]:
        """Return what fails liveness: the reasons, and while the broker is away nothing, up to `GIVE_UP_S`."""
        if not self.away_s:
            return reasons
        return [self._told] if self.away_s > GIVE_UP_S else []

    def ready(self, reasons: list[str]) -> list[str]:
        """Return what fails readiness: the reasons, or that the broker is away."""
        return [self._told] if self.away_s else reasons

    @property
    def _told(self) -> str:
        return f"the broker has not answered for {self.away_s:.0f} s"


class MachineClock:
    """Whether this machine's clock jumps: it is held against the one that only ever goes on.

    Example
    -------
    >>> now = iter([100.0, 101.0, 3702.0])
    >>> clock = MachineClock(wall=lambda: next(now), steady=iter([0.0, 1.0, 2.0]).__next__)
    >>> clock.jumped(), clock.jumped()
    ('', "this machine's clock has jumped by +3600 s: its time is not to be trusted")
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead_s = wall() - steady()
        #: What the last jump was told by; empty before the first.
        self.told = ""

    def jumped(self) -> str:
        """Return a sentence where it has jumped since the last look, else nothing."""
        before_s, self._ahead_s = self._ahead_s, self._wall() - self._steady()
        by_s = self._ahead_s - before_s
        if abs(by_s) <= SET_RIGHT_S:
            return ""
        self.told = f"this machine's clock has jumped by {by_s:+.0f} s: its time is not to be trusted"
        return self.told


def stuck(workers: Sequence[Worker], pulse: Pulse, *, interval_s: float) -> list[str]:
    """Return what keeps a process from being called alive, a sentence each; ``interval_s``: between checkpoints."""
    reasons = []
    given_back_s = max(worker.given_back_s for worker in workers)
    if not any(worker.lanes for worker in workers) and pulse.waited_s(given_back_s) > 4 * STUCK_S:
        reasons.append("no partition is assigned: membership is lost, or there are more workers than partitions")
    for where, worker, partition, lane in _lanes(workers):
        still_s = pulse.waited_s(lane.status.progress_s)
        if not lane.status.recovered:
            if still_s > 4 * STUCK_S:
                reasons.append(f"{where}: recovery has not got on for {still_s:.0f} s")
        elif still_s > STUCK_S and (lag := worker.lag(partition)):
            reasons.append(f"{where}: {lag} messages wait, none applied for {still_s:.0f} s")
        for topic, silent_s in worker.unanswered_s(partition).items():
            if min(silent_s, pulse.waited_s(0.0)) > STUCK_S:
                reasons.append(f"{where}: no fetch of {topic} was answered for {silent_s:.0f} s, the broker is there")
        silent_s = pulse.waited_s(lane.status.committed_s)
        if lane.status.recovered and lane.behind and silent_s > STUCK_S + 4 * interval_s:
            reasons.append(f"{where}: nothing acknowledged for {silent_s:.0f} s")
    return pulse.live(reasons)


def unready(workers: Sequence[Worker], pulse: Pulse) -> list[str]:
    """Return what keeps a process from being called ready, a sentence each."""
    if not any(worker.lanes for worker in workers):
        return pulse.ready(["no partition assigned yet"])
    return pulse.ready([f"{where}: recovering" for where, _, _, lane in _lanes(workers) if not lane.status.recovered])


def _lanes(workers: Sequence[Worker]) -> Iterator[tuple[str, Worker, int, Lane]]:
    for worker in workers:
        for partition, lane in worker.lanes.items():
            yield f"{worker.stage.name} stage, partition {partition}", worker, partition, lane
