"""Alarms, alerts and moments, made by hand."""

from __future__ import annotations

import numpy as np

from engines.backtest.cells import Heard
from engines.backtest.results import Opened
from engines.backtest.sweep import Moments, Sweep
from engines.labels import Label
from engines.typologies import TypologySpec
from schemas.alerts import (
    Activity,
    Alert,
    Evidence,
    Explanation,
    Finding,
    Modality,
    Provenance,
    Quality,
    RuleResult,
    Severity,
    Subject,
    Times,
)

S = 1_000_000_000
HOUR, DAY = 3_600, 86_400
SPEC = TypologySpec(
    name="pump_and_dump", version="1", title="A pump", open=0.5, critical=0.9, close=0.2, hold_ns=600 * S
)


def label(event: str, start: int, end: int, *instruments: str, public: int = 0, typology: str = SPEC.name) -> Label:
    """Return an event from a second to another."""
    return Label(
        event_id=event,
        typology=typology,
        start_ns=start * S,
        onset_ns=start * S,
        end_ns=end * S,
        instruments=list(instruments) or ["A.X"],
        public_ns=public * S,
    )


def heard(names: tuple[str, ...] = ("A.X", "B.X"), *, days: int = 1, hours: int = 24) -> Heard:
    """Return instruments that were heard of in every hour of days, counted from 0."""
    at = np.array([day * DAY + hour * HOUR for day in range(days) for hour in range(hours)], np.int64)
    numbers = np.repeat(np.arange(len(names)), len(at))
    return Heard(names, numbers, np.tile(at, len(names)) * S, 0, days * DAY * S)


def moments(rows: list[tuple[int, int, float]]) -> Moments:
    """Return moments of (instrument, second, score), each followed by a calm one."""
    all_ = sorted([*rows, *((instrument, second + 1, 0.01) for instrument, second, _ in rows)])
    table = np.array([(instrument, second * S) for instrument, second, _ in all_], np.int64).reshape(-1, 2)
    ts = table[:, 1]
    return Moments(table[:, 0], ts, ts, ts * 0, np.array([score for *_, score in all_], np.float64), ts * 0)


def sweep(rows: list[tuple[int, int, float]], spec: TypologySpec = SPEC) -> Sweep:
    """Return what one head kept."""
    return Sweep({"pump": spec}, {"pump": moments(rows)}, floor=0.05, patience_ns=2 * S)


def opened(
    seconds: int, instrument: str = "A.X", typology: str = "pump_and_dump", severity: Severity = "warning"
) -> Opened:
    """Return an alarm at a second."""
    return Opened(
        episode_id=f"{typology}-{instrument}-{seconds}",
        alert_id=f"{typology}-{instrument}-{seconds}-0",
        typology=typology,
        instrument=instrument,
        opened_ns=seconds * S,
        available_ns=seconds * S,
        severity=severity,
        score=0.9,
    )


def alert(
    seconds: int,
    *,
    episode: str,
    severity: Severity = "warning",
    revision: int = 0,
    activity: Activity = "create",
    typology: str = "pump_and_dump@1",
    instrument: str = "A.X",
    score: float = 0.9,
    weights: dict[str, float] | None = None,
    shares: dict[str, float] | None = None,
) -> Alert:
    """Return an alert at a second; ``shares`` are what its modalities added to its log odds."""
    return Alert(
        alert_id=f"{episode}.{revision}",
        episode_id=episode,
        fingerprint="",
        revision=revision,
        activity=activity,
        times=Times(event_start=seconds * S, event_end=seconds * S, available_at=seconds * S, watermark=0),
        subject=Subject(instrument=instrument),
        finding=Finding(typology=typology, title="", severity=severity, score=score),
        modalities={name: Modality(present=True, weight=weight) for name, weight in (weights or {}).items()},
        explanation=Explanation(
            rules=[
                RuleResult(name=f"share_of_{name}", value=value, threshold=0.0, unit="log odds")
                for name, value in (shares or {}).items()
            ]
        ),
        evidence=Evidence(first_seen=0, last_seen=0, count=1),
        provenance=Provenance(code_version="", config=""),
        quality=Quality(ladder="full"),
    )
