"""A broker that dies, or cannot be reached for minutes, costs time and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.integration.daemon import Feed, Watch, until
from tests.kubernetes.cluster import Release
from tests.kubernetes.course import RATE, through
from tests.kubernetes.page import Tell

pytestmark = [pytest.mark.kubernetes, pytest.mark.long]

AWAY_S = 600.0
SAMPLE_S = 15.0
#: What a worker may grow by while it waits: its buffers are bounded, and full after seconds.
BUFFERS_MB = 200.0


def caught_up(feed: Feed, watch: Watch) -> float:
    """Wait until all that is offered by now is acknowledged, and return how long that took, s."""
    offered = feed.offered
    return until(lambda: watch.acknowledged() >= offered, 900, f"{offered} messages acknowledged")


@pytest.mark.timeout(900)
@pytest.mark.row("kill -9 of the broker")
def test_a_broker_that_is_killed_leaves_no_trace(
    installed: Release, to_broker: Callable[[str], None], tell: Tell
) -> None:
    took: dict[str, float] = {}

    def kill(feed: Feed, watch: Watch) -> None:
        to_broker("KILL")
        killed_s = time.monotonic()
        to_broker("START")
        took.update(away=time.monotonic() - killed_s, caught_up=caught_up(feed, watch))

    course = through(installed, kill, days=2)
    tell(
        f"caught up {took['caught_up']:.1f} s after it was back from {took['away']:.0f} s; waited {course.waits}",
        took["caught_up"] <= 5.0,
    )


@pytest.mark.timeout(3600)
@pytest.mark.row("broker unreachable for 10 minutes")
def test_a_broker_that_is_unreachable_for_ten_minutes_leaves_no_trace(
    installed: Release, to_broker: Callable[[str], None], tell: Tell
) -> None:
    found: dict[str, float] = {}

    def cut(feed: Feed, watch: Watch) -> None:
        time.sleep(20.0)
        before = installed.processes()
        to_broker("CUT")
        ends_s, grown_mb = time.monotonic() + AWAY_S, 0.0
        while time.monotonic() < ends_s:
            time.sleep(SAMPLE_S)
            now = installed.processes()
            assert [one.pid for one in now] == [one.pid for one in before], "a worker has ended"
            grown_mb = max(grown_mb, *(b.resident_mb - a.resident_mb for a, b in zip(before, now, strict=True)))
        to_broker("MEND")
        waiting, began_s = feed.offered - feed.sent, time.monotonic()
        until(lambda: watch.acknowledged() >= feed.offered - RATE * SAMPLE_S / 3, 900, "the lag is gone")
        drained_s = time.monotonic() - began_s
        assert installed.restarts() == [0, 0]
        assert grown_mb < BUFFERS_MB
        found.update(grown_mb=grown_mb, drained_s=drained_s, waiting=waiting, speed=waiting / drained_s / RATE + 1)

    through(installed, cut, days=24)
    tell(
        f"no exit; {found['grown_mb']:.0f} MB more at most; {found['waiting']:.0f} messages drained in "
        f"{found['drained_s']:.0f} s, {found['speed']:.1f} times the input",
        found["speed"] >= 3.0,
    )
