"""Two replays: what both say, and what only one does."""

from __future__ import annotations

import msgspec

from engines.backtest.comparison import compare
from schemas.alerts import Alert, Severity
from tests.engines.backtest.made import alert


def episode(
    name: str, first: int, last: int | None, severity: Severity = "warning", instrument: str = "A.X"
) -> list[Alert]:
    opening = alert(first, episode=name, severity=severity, instrument=instrument)
    if last is None:
        return [opening]
    return [opening, alert(last, episode=name, severity=severity, instrument=instrument, revision=1, activity="close")]


def test_episodes_whose_times_overlap_are_the_same_and_each_has_one_partner() -> None:
    a = [*episode("a1", 10, 20), *episode("a2", 30, 50), *episode("a3", 70, None)]
    b = [*episode("b1", 5, 10, "critical"), *episode("b2", 32, 35), *episode("b3", 40, 45), *episode("b4", 900, 950)]
    found = compare(a, b)
    assert [(pair.a.episode_id, pair.b.episode_id, pair.shift_s) for pair in found.both] == [
        ("a1", "b1", -5),
        ("a2", "b2", 2),
        ("a3", "b4", 830),  # a3 never closed
    ]
    assert found.only_a == []
    assert [one.episode_id for one in found.only_b] == ["b3"]
    (summed,) = found.typologies
    assert (summed.a, summed.b, summed.both, summed.only_a, summed.only_b) == (3, 4, 3, 0, 1)
    assert (summed.severity, summed.shift_median_s) == (1, 2)


def test_another_instrument_or_typology_is_another_episode() -> None:
    found = compare(episode("a", 10, 20), episode("b", 10, 20, instrument="B.X"))
    assert (len(found.both), len(found.only_a), len(found.only_b)) == (0, 1, 1)
    assert found.typologies[0].shift_median_s is None


def test_only_episodes_of_the_asked_severity_are_looked_at() -> None:
    found = compare(episode("a", 10, 20, "info"), episode("b", 10, 20, "critical"), "warning")
    assert ([one.episode_id for one in found.only_b], found.only_a) == (["b"], [])


def test_an_episode_that_rang_in_the_warm_up_is_neithers() -> None:
    opened, closed = episode("a", 10, 20)
    early = msgspec.structs.replace(opened, quality=msgspec.structs.replace(opened.quality, warm_up=True))
    again = msgspec.structs.replace(opened, alert_id="a.1", revision=1, activity="update")
    found = compare([early, again, closed], episode("b", 900, 950))
    assert ([one.episode_id for one in found.only_b], found.only_a, found.both) == (["b"], [], [])


def test_a_replay_is_the_same_as_itself() -> None:
    a = [*episode("a1", 10, 20), *episode("a2", 30, 50), *episode("a3", 70, None, instrument="B.X")]
    found = compare(a, a)
    assert (len(found.both), found.only_a, found.only_b) == (3, [], [])
    assert all(pair.a == pair.b for pair in found.both)
