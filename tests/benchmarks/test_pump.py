"""The yardstick itself: intervals by published values, and what counts as caught and false."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pump import File, Judged, Opened, judge, rate, share
from schemas.frames import frame_of

S = 1_000_000_000
DAY = 86_400 * S


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [(0, 10, "[0.00, 0.31]"), (10, 10, "[0.69, 1.00]"), (5, 10, "[0.19, 0.81]"), (17, 18, "[0.73, 1.00]")],
)
def test_shares_have_clopper_and_pearsons_interval(hits: int, of: int, interval: str) -> None:
    assert share(hits, of) == f"{hits}/{of} {interval}"


def test_rates_have_the_exact_poisson_interval() -> None:
    # Garwood 1936: 0 -> (0, 3.689), 10 -> (4.795, 18.390)
    assert rate(0, 1.0) == "0.000 [0.000, 3.689]"
    assert rate(10, 1.0) == "10.000 [4.795, 18.390]"


def test_an_event_has_its_minute_before_and_its_hour_after() -> None:
    ticks = frame_of("A", {"ts_event": [0, 2 * DAY], "price": [1, 1], "size": [1, 1]})
    onset = DAY
    file = File(Path("A_1.parquet"), onset=onset, verified=True)

    def counted(*opened: int) -> Judged:
        return judge([(file, ticks)], {"A_1": [Opened("A_1", ts, 0, 1.0) for ts in opened]})

    assert counted(onset - 60 * S) == Judged(1, 1, [-60.0], 0, 2.0)
    assert counted(onset + 120 * S, onset + 3600 * S) == Judged(1, 1, [120.0], 0, 2.0)
    late = counted(onset + 121 * S)
    assert (late.caught, late.false) == (0, 0)
    outside = counted(onset - 61 * S, onset + 3601 * S)
    assert (outside.caught, outside.false) == (0, 2)
