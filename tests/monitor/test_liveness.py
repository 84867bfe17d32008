"""Probes look at progress: a worker whose process answers and whose lanes stand still is not alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from monitor.lane import LaneStatus
from monitor.liveness import AWAY_S, GIVE_UP_S, STUCK_S, MachineClock, Pulse, stuck, unready


@dataclass
class Lane:
    status: LaneStatus
    lag: int = 0
    behind: bool = False
    unanswered_s: dict[str, float] = field(default_factory=dict)


def status(*, recovered: bool = True, progress_ago_s: float = 0.0, committed_ago_s: float = 0.0) -> LaneStatus:
    now_s = time.monotonic()
    return LaneStatus(recovered=recovered, progress_s=now_s - progress_ago_s, committed_s=now_s - committed_ago_s)


def workers(**lanes: Lane) -> Any:
    def worker(letter: str, stage: str) -> Any:
        owned = {int(name[1:]): lane for name, lane in lanes.items() if name[0] == letter}
        return SimpleNamespace(
            stage=SimpleNamespace(name=stage),
            lanes=owned,
            given_back_s=0.0,
            lag=lambda partition: owned[partition].lag,
            unanswered_s=lambda partition: owned[partition].unanswered_s,
        )

    return [worker("p", "instrument"), worker("m", "market")]


def pulse(since_ago_s: float = 9_999.0, answered_ago_s: float = 0.0) -> Pulse:
    """Return the pulse of a broker that came so long ago, and answered last so long ago."""

    async def answers() -> bool:
        return True

    made, now_s = Pulse(answers), time.monotonic()
    made.since_s, made._answered_s = now_s - since_ago_s, now_s - answered_ago_s
    return made


def reasons(heart: Pulse | None = None, **lanes: Lane) -> list[str]:
    return stuck(workers(**lanes), heart or pulse(), interval_s=5.0)


def test_a_lane_that_moves_is_alive_and_ready() -> None:
    lanes = {"p3": Lane(status(), lag=5, behind=True, unanswered_s={"frames": 0.02}), "m0": Lane(status())}
    assert reasons(**lanes) == []
    assert unready(workers(**lanes), pulse()) == []


def test_messages_that_wait_while_none_is_applied_fail_the_probe() -> None:
    lane = Lane(status(progress_ago_s=STUCK_S + 5), lag=7)
    assert reasons(p2=lane) == ["instrument stage, partition 2: 7 messages wait, none applied for 35 s"]


def test_a_lane_with_nothing_to_do_may_stand_still() -> None:
    assert reasons(p2=Lane(status(progress_ago_s=9_999, committed_ago_s=9_999))) == []


def test_a_consumer_that_silently_stops_fetching_fails_the_probe() -> None:
    lane = Lane(status(), unanswered_s={"frames": STUCK_S + 5, "news": 0.1})
    assert reasons(p2=lane) == [
        "instrument stage, partition 2: no fetch of frames was answered for 35 s, the broker is there"
    ]


def test_acknowledgements_that_stopped_fail_the_probe() -> None:
    lane = Lane(status(committed_ago_s=100), behind=True)
    assert reasons(p0=lane) == ["instrument stage, partition 0: nothing acknowledged for 100 s"]


def test_a_worker_that_lost_its_membership_fails_the_probe() -> None:
    assert reasons(pulse(since_ago_s=STUCK_S)) == []
    (reason,) = reasons(pulse(since_ago_s=5 * STUCK_S))
    assert "membership is lost" in reason


def test_partitions_that_recover_are_alive_and_not_ready_until_they_no_longer_get_on() -> None:
    lanes = {"p0": Lane(status()), "p1": Lane(status(recovered=False, progress_ago_s=60.0), lag=9)}
    assert reasons(**lanes) == []
    assert unready(workers(**lanes), pulse()) == ["instrument stage, partition 1: recovering"]
    long = Lane(status(recovered=False, progress_ago_s=1.0, committed_ago_s=300.0), behind=True)
    assert reasons(p1=long) == []
    slow = Lane(status(recovered=False, progress_ago_s=130.0))
    assert reasons(p1=slow) == ["instrument stage, partition 1: recovery has not got on for 130 s"]


def test_a_broker_that_is_away_is_no_reason_to_end_a_worker_but_it_is_not_ready() -> None:
    still = Lane(status(progress_ago_s=200, committed_ago_s=200), lag=7, behind=True, unanswered_s={"frames": 200.0})
    away = pulse(answered_ago_s=200)
    assert reasons(away, p0=still) == []
    assert unready(workers(p0=still), away) == ["the broker has not answered for 200 s"]


def test_back_again_it_leaves_lanes_the_time_to_go_on() -> None:
    still = Lane(status(progress_ago_s=200, committed_ago_s=200), lag=7, behind=True, unanswered_s={"frames": 200.0})
    assert reasons(pulse(since_ago_s=STUCK_S - 5), p0=still) == []
    assert len(reasons(pulse(since_ago_s=2 * STUCK_S), p0=still)) == 3


def test_a_broker_that_stays_away_is_worth_a_restart() -> None:
    assert reasons(pulse(answered_ago_s=GIVE_UP_S + 1)) == [f"the broker has not answered for {GIVE_UP_S + 1:.0f} s"]


def test_the_pulse_knows_since_when_the_broker_answers() -> None:
    now_s, there = 0.0, True

    async def answers() -> bool:
        return there

    heart = Pulse(answers, lambda: now_s)
    beat: Callable[[], None] = lambda: asyncio.run(heart.beat())  # noqa: E731
    now_s = AWAY_S
    beat()
    assert (heart.away_s, heart.since_s) == (0.0, 0.0)
    there, now_s = False, 40.0
    beat()
    assert heart.away_s == 40.0 - AWAY_S
    there, now_s = True, 100.0
    beat()
    assert (heart.away_s, heart.since_s) == (0.0, 100.0)
    assert heart.waited_s(10.0) == 0.0


def test_a_clock_that_jumps_is_told_once_and_one_that_is_set_right_is_not() -> None:
    offsets = iter([0.0, 1.5, 3.0, -3597.0, -3597.0])
    clock = MachineClock(wall=lambda: 1e9 + next(offsets), steady=lambda: 7.0)
    assert [clock.jumped() for _ in range(4)] == [
        *("", ""),
        "this machine's clock has jumped by -3600 s: its time is not to be trusted",
        "",
    ]
    assert "-3600 s" in clock.told
