"""What a worker's probes go by: liveness is progress, not breath.

A lane that has messages waiting and applies none, checkpoints that stopped, a recovery that does not get on, or a
membership that was lost, fail the probe. (An event loop that stalls answers no probe at all.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.lane import Lane
    from monitor.worker import Worker

#: A lane with messages waiting that has applied none for this long is stuck, in seconds.
STUCK_S = 30.0


def stuck(workers: Sequence[Worker], *, started_s: float, interval_s: float) -> list[str]:
    """Return what keeps a process from being called alive, a sentence each.

    Parameters
    ----------
    started_s
        When it started, by the monotonic clock.
    interval_s
        How often it writes checkpoints.
    """
    now_s = time.monotonic()
    reasons = []
    given_back_s = max(started_s, *(worker.given_back_s for worker in workers))
    if not any(worker.lanes for worker in workers) and now_s - given_back_s > 4 * STUCK_S:
        reasons.append("no partition is assigned: membership is lost, or there are more workers than partitions")
    for where, lane in _lanes(workers):
        waiting = sum(map(len, lane.sequencer.buffers.values()))
        if not lane.status.recovered and now_s - lane.status.progress_s > 4 * STUCK_S:
            reasons.append(f"{where}: recovery has not got on for {4 * STUCK_S:.0f} s")
        if waiting and now_s - lane.status.progress_s > STUCK_S:
            reasons.append(f"{where}: {waiting} messages wait, none applied for {STUCK_S:.0f} s")
        if lane.behind and now_s - lane.status.committed_s > STUCK_S + 4 * interval_s:
            silent_s = now_s - lane.status.committed_s
            reasons.append(f"{where}: nothing acknowledged for {silent_s:.0f} s")
    return reasons


def unready(workers: Sequence[Worker]) -> list[str]:
    """Return what keeps a process from being called ready, a sentence each."""
    if not any(worker.lanes for worker in workers):
        return ["no partition assigned yet"]
    return [f"{where}: recovering" for where, lane in _lanes(workers) if not lane.status.recovered]


def _lanes(workers: Sequence[Worker]) -> Iterator[tuple[str, Lane]]:
    for worker in workers:
        for partition, lane in worker.lanes.items():
            yield f"{worker.stage.name} stage, partition {partition}", lane
