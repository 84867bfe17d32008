"""Probes look at progress: a worker whose process answers and whose lanes stand still is not alive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from monitor.lane import LaneStatus
from monitor.liveness import STUCK_S, stuck, unready


@dataclass
class Lane:
    status: LaneStatus
    waiting: int = 0
    behind: bool = False
    sequencer: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sequencer = SimpleNamespace(buffers={"frames": range(self.waiting), "news": ()})


def status(*, recovered: bool = True, progress_ago_s: float = 0.0, committed_ago_s: float = 0.0) -> LaneStatus:
    now_s = time.monotonic()
    return LaneStatus(recovered=recovered, progress_s=now_s - progress_ago_s, committed_s=now_s - committed_ago_s)


def workers(**lanes: Lane) -> Any:
    stages = {"p": "instrument", "m": "market"}
    return [
        SimpleNamespace(
            stage=SimpleNamespace(name=stage),
            lanes={int(name[1:]): lane for name, lane in lanes.items() if name[0] == letter},
            given_back_s=0.0,
        )
        for letter, stage in stages.items()
    ]


def reasons(started_ago_s: float = 0.0, **lanes: Lane) -> list[str]:
    return stuck(workers(**lanes), started_s=time.monotonic() - started_ago_s, interval_s=5.0)


def test_a_lane_that_moves_is_alive_and_ready() -> None:
    lanes = {"p3": Lane(status(), waiting=5, behind=True), "m0": Lane(status())}
    assert reasons(**lanes) == []
    assert unready(workers(**lanes)) == []


def test_messages_that_wait_while_none_is_applied_fail_the_probe() -> None:
    lane = Lane(status(progress_ago_s=STUCK_S + 5), waiting=7)
    assert reasons(p2=lane) == ["instrument stage, partition 2: 7 messages wait, none applied for 30 s"]


def test_a_lane_with_nothing_to_do_may_stand_still() -> None:
    assert reasons(p2=Lane(status(progress_ago_s=9_999, committed_ago_s=9_999))) == []


def test_acknowledgements_that_stopped_fail_the_probe() -> None:
    lane = Lane(status(committed_ago_s=100), behind=True)
    assert reasons(p0=lane) == ["instrument stage, partition 0: nothing acknowledged for 100 s"]


def test_a_worker_that_lost_its_membership_fails_the_probe() -> None:
    assert reasons() == []
    (reason,) = reasons(started_ago_s=5 * STUCK_S)
    assert "membership is lost" in reason


def test_partitions_that_recover_are_alive_and_not_ready() -> None:
    lanes = {"p0": Lane(status()), "p1": Lane(status(recovered=False))}
    assert reasons(**lanes) == []
    assert unready(workers(**lanes)) == ["instrument stage, partition 1: recovering"]
