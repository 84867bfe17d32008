"""A year of a desk, drawn of a seed: 20 instruments on 261 days, and so many alerts that a report has to choose."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np

from engines.labels import Label
from monitor.report.bars import Bars
from monitor.report.material import Material
from schemas.alerts import Alert, Severity, Times
from schemas.records import News
from tests.backtests import a_backtest
from tests.engines.backtest.made import alert

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
FROM_NS = int(datetime(2014, 1, 1, tzinfo=UTC).timestamp()) * 10**9
DAYS = 365
NAMES = tuple(f"S{number:02}.XNYS" for number in range(20))
#: The session, hours UTC, in bars of an hour.
OPEN, CLOSE = 14, 21


def trading_days() -> list[int]:
    """Return when each day that is no weekend begins, ns."""
    return [day for day in range(FROM_NS, FROM_NS + DAYS * DAY_NS, DAY_NS) if (day // DAY_NS + 3) % 7 < 5]


def material(*, alerts_a_day: int = 3, daily: bool = False) -> Material:
    """Return a year's material; ``daily``: a bar a day, as of stocknet."""
    draw = np.random.default_rng(5)
    days = trading_days()
    told = [
        _alert(draw, number, day + int(draw.integers(0, 24)) * HOUR_NS, name)
        for number, day in enumerate(days)
        for name in NAMES
        for _ in range(int(draw.poisson(alerts_a_day)))
    ]
    labels = [
        _label(f"{name}-{number}", day + int(draw.integers(OPEN, CLOSE)) * HOUR_NS, name)
        for number, day in enumerate(days)
        for name in NAMES
        if draw.random() < 0.08
    ]
    found = a_backtest(told, labels, FROM_NS, FROM_NS + DAYS * DAY_NS, days=len(days))
    table = [msgspec.structs.replace(one, day_ns=day) for one, day in zip(found.days, days, strict=True)]
    moved = {one.day_ns: day for one, day in zip(found.days, days, strict=True)}
    rates = [msgspec.structs.replace(rate, day_ns=moved[rate.day_ns]) for rate in found.rates]
    return Material(
        msgspec.structs.replace(found, days=table, rates=rates),
        told,
        sorted(labels, key=lambda label: label.start_ns),
        {name: _bars(draw, days, daily=daily) for name in NAMES[:8]},
        {NAMES[0]: [_news(day + 3 * HOUR_NS) for day in range(FROM_NS, FROM_NS + DAYS * DAY_NS, 2 * DAY_NS)]},
        [],
        len(NAMES) - 8,
    )


def _alert(draw: np.random.Generator, number: int, at_ns: int, name: str) -> Alert:
    severity: Severity = "critical" if draw.random() < 0.1 else "warning"
    made = alert(
        number,
        episode=f"{name}-{at_ns}-{draw.integers(2**40)}",
        severity=severity,
        instrument=name,
        score=draw.random(),
    )
    return msgspec.structs.replace(
        made, times=Times(event_start=at_ns - HOUR_NS, event_end=at_ns, available_at=at_ns + 10**9, watermark=0)
    )


def _label(event_id: str, at_ns: int, name: str) -> Label:
    return Label(
        event_id=event_id,
        typology="large_move",
        start_ns=at_ns,
        onset_ns=at_ns,
        end_ns=at_ns + HOUR_NS,
        instruments=[name],
        public_ns=at_ns + 12 * HOUR_NS,
    )


def _news(at_ns: int) -> News:
    return News(
        instrument=NAMES[0], ts_event=at_ns, ts_available=at_ns, document_id=str(at_ns), headline="Said", source="wire"
    )


def _bars(draw: np.random.Generator, days: list[int], *, daily: bool) -> Bars:
    width_ns = DAY_NS if daily else HOUR_NS
    within = [0] if daily else range(OPEN * HOUR_NS, CLOSE * HOUR_NS, HOUR_NS)
    start = np.array([day + at for day in days for at in within])
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.01, len(start))))
    return Bars(width_ns, start, close * 0.99, close * 1.01, close, draw.gamma(2, 1e5, len(start)))
