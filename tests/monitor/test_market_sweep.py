"""What the market's stage makes of openings that another threshold would have told it of."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from engines.anomaly import SPEC
from engines.backtest.cells import Heard
from engines.backtest.field import Field
from engines.backtest.results import Parameters
from engines.backtest.sweep import Moments, Sweep
from engines.typologies import market_wide
from monitor.market_sweep import counts, crowds
from monitor.replay_history import market_of
from monitor.replayed import Replayed
from monitor.settings import Settings
from monitor.stage import Stages, load_stages
from schemas.records import Moved, Opening

S = 10**9
#: Single openings for an hour, then a crowd of thirty, of which every other one scores less.
NAMES = tuple(f"I{number:02}.XTOC" for number in range(44))
ROWS = [
    *((30 + number, 240 * number, 0.999) for number in range(14)),
    *((number, 5_400 + 9 * number, 0.999 if number % 2 else 0.985) for number in range(30)),
]
UNTIL_NS = 12_000 * S


@pytest.fixture(scope="module")
def stages() -> Stages:
    return load_stages(Settings(), lambda counts: None)


def known_ns(number: int, second: int) -> int:
    """Return when a moment is known: of odd instruments ten seconds later, of others half a second."""
    return second * S + (10 * S if number % 2 else S // 2)


def told() -> Sweep:
    """Return what the head kept."""
    rows = sorted(ROWS)
    known = np.array([known_ns(number, second) for number, second, _ in rows])
    moments = Moments(
        np.array([number for number, _, _ in rows]),
        np.array([second * S for _, second, _ in rows]),
        known,
        known - known % S,
        np.array([score for *_, score in rows]),
        np.zeros(len(rows), np.int64),
    )
    specs = {"anomaly": SPEC, "market_wide": market_wide.SPEC}
    return Sweep(specs, {"anomaly": moments}, floor=0.05, patience_ns=2 * S)


def field(from_ns: int = 0) -> Field:
    return Field([], Heard(NAMES, np.array([0]), np.array([11_500 * S]), from_ns, UNTIL_NS), Parameters(draws=0))


@pytest.mark.parametrize("threshold", [0.98, 0.99])
def test_it_says_what_a_replay_with_that_threshold_would(stages: Stages, threshold: float) -> None:
    replayed = Replayed(None)
    replayed.clock_ns = UNTIL_NS
    replayed.openings = [
        Opening(
            ts_event=second * S,
            ts_available=known_ns(number, second),
            instrument=NAMES[number],
            typology=f"{SPEC.name}@{SPEC.version}",
            episode_id=f"{number} {second}",
            severity="warning",
            score=score,
        )
        for number, second, score in ROWS
        if score >= threshold
    ]
    asyncio.run(market_of(replayed, stages))
    opened = [alert for alert in replayed.alerts if alert.activity == "create"]
    found = crowds(field(), told(), "anomaly", threshold, until_ns=UNTIL_NS)
    assert [(one.instrument, one.opened_ns, one.available_ns, one.score) for one in found] == [
        ("market", alert.times.event_end, alert.times.available_at, alert.finding.score) for alert in opened
    ]
    assert len(found) == 1


def test_drift_of_the_market_is_among_what_a_replay_found(stages: Stages) -> None:
    replayed = Replayed(None)
    replayed.clock_ns = UNTIL_NS
    replayed.openings = [
        Opening(
            ts_event=second * S,
            ts_available=second * S,
            instrument=name,
            typology="drift",
            episode_id=name,
            severity="info",
            score=1.0,
            drift=Moved(stream="volatility"),
        )
        for second, name in enumerate(NAMES, 5_000)
    ]
    asyncio.run(market_of(replayed, stages))
    (found,) = replayed.drift
    assert (found.scope, found.subject) == ("market", "market")


def test_fewer_openings_make_no_crowd_and_the_warm_up_is_learnt_from_and_not_told() -> None:
    assert crowds(field(), told(), "anomaly", 1.0, until_ns=UNTIL_NS) == []
    assert crowds(field(11_000 * S), told(), "anomaly", 0.98, until_ns=UNTIL_NS) == []


def test_it_counts_anomalies_alone() -> None:
    assert counts(SPEC)
    assert not counts(market_wide.SPEC)
