"""The golden day gives the golden alerts, on every machine."""

from __future__ import annotations

import msgspec
import pytest

from schemas.alerts import Alert, digest
from tests.golden import day


def test_the_golden_day_gives_the_golden_alerts() -> None:
    now, then = day.found(), day.stored()
    told = "\n".join(day.differences(now.alerts, then.alerts))
    assert not told, f"the golden day's alerts are others:\n{told}\n{day.REWRITE}"
    settled = day.settled(now.alerts, then.alerts)
    assert settled == then.alerts, f"ids are others, what was found is the same.\n{day.REWRITE}"
    assert digest(settled) == then.digest, f"the digest of the same alerts is another.\n{day.REWRITE}"


def test_the_golden_day_has_every_typology_and_what_opens_closes() -> None:
    alerts = day.stored().alerts
    assert {alert.finding.typology.split("@")[0] for alert in alerts} >= {
        "market_anomaly",
        "pump_and_dump",
        "pump_coordination",
        "adverse_text",
        "elevated_risk",
    }
    assert {alert.activity for alert in alerts} == {"create", "update", "close"}


def scored(alert: Alert, by: float) -> Alert:
    score = alert.finding.score + by
    return msgspec.structs.replace(alert, finding=msgspec.structs.replace(alert.finding, score=score))


@pytest.mark.parametrize(("by", "found"), [(1e-5, False), (1e-2, True)])
def test_a_number_is_another_beyond_the_tolerance(by: float, found: bool) -> None:
    then = day.stored()
    now = [scored(then.alerts[0], by), *then.alerts[1:]]
    assert (digest(day.settled(now, then.alerts)) != then.digest) is found
    told = day.differences(now, then.alerts)
    assert len(told) == found
    assert all("finding.score was" in line for line in told)


def test_an_alert_that_is_gone_is_named() -> None:
    then = day.stored().alerts
    (line,) = day.differences(then[1:], then)
    assert line.startswith(f"gone: {then[0].finding.typology} {then[0].activity} of {then[0].subject.instrument}")
