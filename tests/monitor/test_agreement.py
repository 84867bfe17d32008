"""Alerts agree to the letter, numbers within a tolerance, and the first field that does not is named."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from monitor.agreement import TOLERANCE, alike, farthest, first_difference
from schemas.alerts import Alert, AlertEvent
from tests.golden.examples import EXAMPLES

ALERT: Alert = next(cast(AlertEvent, example.record) for example in EXAMPLES if example.topic == "alerts").data


def scored(by: float, alert: Alert = ALERT) -> Alert:
    finding = msgspec.structs.replace(alert.finding, score=alert.finding.score + by)
    return msgspec.structs.replace(alert, finding=finding)


@pytest.mark.parametrize(("by", "agrees"), [(0.0, True), (TOLERANCE / 2, True), (-TOLERANCE * 2, False)])
def test_numbers_agree_within_the_tolerance(by: float, agrees: bool) -> None:
    difference = first_difference(scored(by), ALERT)
    assert (difference is None) is agrees
    if difference is not None:
        assert difference.path == "finding.score"
        assert str(difference) == f"finding.score: theirs {ALERT.finding.score}, ours {ALERT.finding.score + by}"


def test_what_is_no_number_agrees_to_the_letter() -> None:
    finding = msgspec.structs.replace(ALERT.finding, title="another")
    difference = first_difference(msgspec.structs.replace(ALERT, finding=finding), ALERT)
    assert difference is not None
    assert (difference.path, difference.ours) == ("finding.title", "another")
    times = msgspec.structs.replace(ALERT.times, event_end=ALERT.times.event_end + 1)
    difference = first_difference(msgspec.structs.replace(ALERT, times=times), ALERT)
    assert difference is not None
    assert difference.path == "times.event_end"


def test_what_the_digest_leaves_out_is_not_compared() -> None:
    provenance = msgspec.structs.replace(ALERT.provenance, mode="replay", backend="another", run_id="r")
    times = msgspec.structs.replace(ALERT.times, detected_at=7, watermark=1)
    assert first_difference(msgspec.structs.replace(ALERT, provenance=provenance, times=times), ALERT) is None


def test_the_number_that_is_farthest_apart_is_told() -> None:
    assert farthest(ALERT, ALERT) is None
    found = farthest(scored(1e-6), ALERT)
    assert found is not None
    assert found.path == "finding.score"


def test_sets_agree_where_each_alert_does() -> None:
    other = msgspec.structs.replace(ALERT, alert_id="z")
    assert alike([other, scored(1e-6)], [ALERT, other]) is None
    found = alike([ALERT], [ALERT, other])
    assert found is not None
    assert (found[0], str(found[1])) == ("z", f"the alert: theirs {ALERT.finding.typology!r}, ours absent")
    found = alike([scored(0.1), other], [ALERT, other])
    assert found is not None
    assert (found[0], found[1].path) == (ALERT.alert_id, "finding.score")
