"""How the typologies of money are judged: what is caught, what is false, and what rang instead."""

from __future__ import annotations

from benchmarks.money import Opening, explained, judge, simulated
from engines.accounts import DAY_NS
from engines.labels import Label
from engines.transfers import TransferConfig


def label(typology: str, begin: int, end: int, *accounts: str) -> Label:
    return Label(
        event_id=f"{typology} {begin}",
        typology=typology,
        start_ns=begin,
        onset_ns=begin,
        end_ns=end,
        instruments=["accounts"],
        accounts=list(accounts),
    )


def test_an_opening_is_explained_by_the_labels_of_its_account_until_a_day_after() -> None:
    events = [label("fan_in", 100, 200, "A"), label("round_trip", 150, 160, "A", "B")]
    assert explained(Opening("fan_in", "A", 155), events) == events
    assert explained(Opening("fan_in", "A", 99), events) == []
    assert explained(Opening("fan_in", "B", 160 + DAY_NS), events) == [events[1]]
    assert explained(Opening("fan_in", "B", 161 + DAY_NS), events) == []


def test_a_few_days_are_judged_whole() -> None:
    days = simulated(7, 3, 1.0, typologies=("structuring", "round_trip"))
    found = judge(days, TransferConfig())
    assert found.events == {"structuring": 3, "round_trip": 3}
    assert found.caught == {"structuring": 3, "round_trip": 3}
    assert {pair for pair in found.confusion if pair[0] == pair[1]} == {
        ("structuring", "structuring"),
        ("round_trip", "round_trip"),
    }
    assert all(delay >= 0 for delays in found.delays_s.values() for delay in delays)
