"""Champion and challenger over the same hours: figures by hand, differences, and every line of the gate."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engines.backtest.gate import Policy, checks
from engines.backtest.shadow import DAY_NS, Shadowed, shadowed
from engines.labels import Label
from schemas.alerts import Alert
from tests.engines.backtest.made import HOUR, S, alert, label

#: Ten events an hour apart, from the first hour on, and one that only looked bad.
EVENTS = [label(f"e{hour}", hour * HOUR, hour * HOUR + 60) for hour in range(1, 11)]
BAIT = msgspec.structs.replace(label("bait", 20 * HOUR, 20 * HOUR + 60), benign=True)
LABELS = [*EVENTS, BAIT]


def rang(hour: float, *, wait_s: float = 0.2, backend: str = "onnxruntime-cpu", bundle: str = "b") -> Alert:
    made = alert(int(hour * HOUR) + 30, episode=f"{bundle}{hour}")
    times = msgspec.structs.replace(made.times, detected_at=made.times.available_at + int(wait_s * S))
    told = msgspec.structs.replace(made.provenance, bundle=bundle, backend=backend)
    return msgspec.structs.replace(made, times=times, provenance=told)


def both(mine: list[Alert], theirs: list[Alert], labels: list[Label] | None = None, **others: int) -> Shadowed:
    bounds = {"from_ns": 0, "to_ns": DAY_NS, "live_ns": 0} | others
    return shadowed(mine, theirs, LABELS if labels is None else labels, **bounds)


def test_recall_precision_and_rates_are_counted_and_what_no_label_speaks_of_is_not_judged() -> None:
    # The champion finds four events, rings at the bait, and once at what nobody knows; the challenger finds eight.
    mine = [*(rang(hour) for hour in (1, 2, 3, 4)), rang(20), rang(15.5)]
    theirs = [rang(hour, bundle="c") for hour in (1, 2, 3, 4, 5, 6, 7, 8)]
    found = both(mine, theirs)
    assert (found.harmful, found.benign, found.days) == (10, 1, 1.0)
    a, b = found.champion, found.challenger
    assert (a.alarms, a.alarms_a_day, a.unjudged, a.recall.value, a.precision.value) == (6, 6.0, 1, 0.4, 0.8)
    assert (b.alarms, b.unjudged, b.recall.value, b.precision.value) == (8, 0, 0.8, 1.0)
    assert (a.bundles, b.bundles) == (["b"], ["c"])
    assert (found.recall_gain.value, found.precision_gain.value) == pytest.approx((0.4, 0.2))
    assert found.recall_gain.low is not None
    assert 0 < found.recall_gain.low < 0.4
    # None was closed, so that each of the champion's has one of the challenger's beside it.
    assert (len(found.episodes.both), len(found.episodes.only_a), len(found.episodes.only_b)) == (6, 0, 2)


def test_one_who_is_the_same_gains_nothing_for_certain() -> None:
    alerts = [rang(hour) for hour in (1, 2, 3, 20)]
    found = both(alerts, alerts)
    for gain in (found.recall_gain, found.precision_gain):
        assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_a_label_that_stands_for_many_counts_as_many() -> None:
    labels = [msgspec.structs.replace(EVENTS[0], weight=3.0), EVENTS[1]]
    assert both([rang(1)], [rang(2)], labels).champion.recall.value == 0.75


def test_what_began_before_or_comes_after_is_neithers() -> None:
    early = [rang(1), msgspec.structs.replace(rang(5), episode_id="b1")]
    found = both([*early, rang(12)], [rang(6), rang(12)], from_ns=2 * HOUR * S, to_ns=11 * HOUR * S)
    assert (found.champion.alarms, found.challenger.alarms, found.harmful) == (0, 1, 9)


def test_latency_is_of_alerts_while_both_were_live() -> None:
    backlog, live = rang(1, wait_s=9_000.0), [rang(hour, wait_s=0.1) for hour in (5, 6)]
    found = both([backlog, *live], [backlog, live[0]], live_ns=4 * HOUR * S)
    assert (found.champion.latency_p99_s, found.champion.live_alerts) == (pytest.approx(0.1), 2)
    assert found.challenger.live_alerts == 1
    assert both([backlog], [backlog], live_ns=DAY_NS).challenger.latency_p99_s is None


def gate(found: Shadowed, **policy: Any) -> dict[str, bool]:
    return {check.name: check.passed for check in checks(found, Policy(**policy))}


BETTER = both([rang(hour) for hour in range(1, 6)], [rang(hour) for hour in range(1, 11)])


def test_who_holds_the_guards_and_gains_at_the_target_passes() -> None:
    assert all(gate(BETTER, alarms_a_day=1.0).values())
    lines = gate(BETTER)
    assert [name for name, passed in lines.items() if not passed] == ["alarms a day"]
    told = {check.name: check.told for check in checks(BETTER, Policy())}
    assert told["alarms a day"] == "10.00, the champion's 5.00, within 20%"
    assert told["target: recall"].startswith("gained 0.500 [")


def test_the_same_model_passes_every_guard_and_not_the_target() -> None:
    alerts = [rang(hour) for hour in range(1, 6)]
    lines = gate(both(alerts, alerts))
    assert [name for name, passed in lines.items() if not passed] == ["target: recall"]
    assert not gate(both(alerts, alerts), target="alarms_a_day")["target: fewer alarms"]


@pytest.mark.parametrize(
    ("theirs", "others", "fails"),
    [
        ([rang(hour, wait_s=0.3) for hour in range(1, 11)], {}, {"latency p99"}),
        ([rang(hour, backend="openvino") for hour in range(1, 11)], {}, {"back ends"}),
        ([], {}, {"alarms a day", "recall", "precision", "latency p99", "target: recall"}),
        ([rang(hour) for hour in range(1, 11)], {"days": 2.0}, {"days"}),
        ([rang(hour) for hour in range(1, 11)], {"labels": 11}, {"labels"}),
        ([rang(hour) for hour in range(1, 11)], {"gain": 0.9}, {"target: recall"}),
        ([rang(hour) for hour in (1, 2)], {"target": "alarms_a_day", "recall_loss": 1.0}, set()),
    ],
)
def test_each_guard_stands_by_itself(theirs: list[Alert], others: dict[str, Any], fails: set[str]) -> None:
    found = both([rang(hour) for hour in range(1, 6)], theirs)
    lines = gate(found, **({"alarms_a_day": 1.0 if theirs else 0.5} | others))
    assert {name for name, passed in lines.items() if not passed} == fails


def test_without_labels_nothing_is_known_and_nobody_passes() -> None:
    lines = gate(both([rang(1)], [rang(1)], []), labels=0)
    assert {name for name, passed in lines.items() if not passed} == {"recall", "precision", "target: recall"}
    # Fewer alarms can be counted without them.
    fewer = both([rang(1), rang(2)], [rang(1)], [])
    assert gate(fewer, target="alarms_a_day", alarms_a_day=0.5)["target: fewer alarms"]
