"""Sessions: by the clocks of their zone, and as rules change them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from engines.order_findings import OrderConfig
from engines.orders import OrderEngine
from engines.sessions import SECOND_NS, Session, stretch_at
from tests.misconduct import market

NEW_YORK = Session(open="09:30", close="16:00", zone="America/New_York")
MINUTE_NS = 60 * SECOND_NS


def utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND_NS, UTC).strftime("%d %H:%M")


def test_summer_time_follows_the_zone() -> None:
    assert [utc(at) for at in NEW_YORK.on(date(2026, 3, 6))] == ["06 14:30", "06 21:00"]
    assert [utc(at) for at in NEW_YORK.on(date(2026, 3, 9))] == ["09 13:30", "09 20:00"]


@pytest.mark.parametrize(
    ("now", "start", "closing"),
    [
        ("2026-11-30T14:31", "30 14:30", False),
        ("2026-11-30T14:40", "30 20:55", True),
        ("2026-11-30T20:59", "30 20:55", True),
        ("2026-11-30T21:00", "01 14:30", False),
        ("2026-12-01T02:00", "01 14:30", False),
    ],
)
def test_the_stretch_that_is_on_or_comes_next(now: str, start: str, closing: bool) -> None:
    now_ns = int(datetime.fromisoformat(f"{now}+00:00").timestamp()) * SECOND_NS
    stretch = stretch_at(NEW_YORK, now_ns, 3 * MINUTE_NS, 5 * MINUTE_NS)
    assert (utc(stretch.start_ns), stretch.closing) == (start, closing)


def test_hours_that_rules_change_hold_at_once_and_an_unknown_venue_gets_them() -> None:
    made = market("marking_the_close")
    orders = msgspec.structs.replace(made.orders(), instrument="ACME.XNYS")
    early = Session(open="08:00", close="16:00")
    cut = len(orders) // 2

    def heads(before: dict[str, Session], after: dict[str, Session]) -> set[str]:
        state = OrderEngine(OrderConfig()).new_state()
        engines = [OrderEngine(OrderConfig().among(sessions)) for sessions in (before, after)]
        engines[0].observe(state, made.ticks())
        parts = zip(engines, (orders[:cut], orders[cut:]), strict=True)
        return {track.head for engine, part in parts for track in engine.apply(state, part).tracks}

    closing = OrderConfig().sessions["XTOC"]
    assert "marking_the_close" not in heads({}, {})
    assert "marking_the_close" in heads({}, {"XNYS": closing})
    assert "marking_the_close" in heads({"XNYS": early}, {"XNYS": closing})
