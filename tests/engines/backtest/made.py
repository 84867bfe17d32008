"""Alarms, alerts and moments, made by hand."""

from __future__ import annotations

from engines.backtest.results import Opened
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
