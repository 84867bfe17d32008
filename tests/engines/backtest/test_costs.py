"""Costs by hand, and thresholds that are chosen on nothing but what was known."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backtest.costs import GRID, LEAST_KNOWN, TODAY, Tried, cost_curve, together, tried, walk_forward
from engines.backtest.field import Field, known_ns
from engines.backtest.ranking import score_of
from engines.backtest.results import Parameters, WalkForward
from engines.labels import Label
from tests.engines.backtest.made import DAY, HOUR, SPEC, S, heard, label, sweep

PARAMETERS = Parameters(block="day", draws=100, before_ns=0, after_ns=0, cost_missed=10.0, label_delay_ns=DAY * S)
DAYS = 12
#: On each day A has an event at noon that scores 0.4 and B a fuss at six that scores 0.3; once a fuss scores 0.6.
EVENTS = [label(f"e{day}", day * DAY + 12 * HOUR, day * DAY + 12 * HOUR + 1800) for day in range(DAYS)]
ROWS = [
    *((0, day * DAY + 12 * HOUR + 60, 0.4) for day in range(DAYS)),
    *((1, day * DAY + 18 * HOUR, 0.3) for day in range(DAYS)),
    (1, 3 * DAY, 0.6),
]


def made(rows: list[tuple[int, int, float]] = ROWS, parameters: Parameters = PARAMETERS) -> tuple[Field, list[Tried]]:
    field = Field(EVENTS, heard(days=DAYS), parameters)
    return field, tried(field, sweep(rows), "pump", SPEC.open)


def test_a_curve_by_hand() -> None:
    found = cost_curve(*(lambda field, points: (field, "x", points))(*made()))
    assert len(found.points) == len(GRID)
    assert (found.today.threshold, found.today.episodes, found.today.false, found.today.missed) == (0.5, 1, 1, 12)
    assert found.today.cost == 1 + 120
    # From 0.3 down all of it rings; above that and up to 0.4 the events and one fuss; the nearest to today's is 0.4.
    assert (found.cheapest.threshold, found.cheapest.cost) == (pytest.approx(0.4), 1)
    lowest = found.points[0]
    assert (lowest.episodes, lowest.false, lowest.missed) == (25, 13, 0)
    assert found.flag_nothing == 120
    assert found.flag_all == 2 * 24 * DAYS - len(EVENTS)


def test_points_are_of_the_scale_that_is_swept() -> None:
    field, one_head = made()
    assert one_head[TODAY].threshold == SPEC.open
    assert [one.threshold for one in one_head] == [max(score_of(u, SPEC.open), 0.05) for u in GRID]
    rows = sweep(ROWS)
    rows.specs = {"pump": SPEC, "other": SPEC}  # type: ignore[misc]
    rows.moments = {**rows.moments, "other": rows.moments["pump"]}  # type: ignore[misc]
    both = together([tried(field, rows, head, SPEC.open) for head in ("pump", "other")])
    assert [one.threshold for one in both] == list(GRID)
    assert len(both[TODAY].ts) == 2 * len(one_head[TODAY].ts)


def test_matched_by_its_own_typology_another_heads_alarm_is_false() -> None:
    other = [msgspec.structs.replace(one, typology="another") for one in EVENTS]
    field = Field(other, heard(days=DAYS), msgspec.structs.replace(PARAMETERS, match="own"))
    lowest = tried(field, sweep(ROWS), "pump", SPEC.open)[0]
    assert (lowest.caught.any(), lowest.point(field).false) == (False, 25)


def walked(rows: list[tuple[int, int, float]] = ROWS, parameters: Parameters = PARAMETERS) -> WalkForward:
    field, points = made(rows, parameters)
    found = walk_forward(field, "x", points)
    assert found is not None
    return found


def test_a_threshold_is_chosen_from_the_day_on_which_enough_labels_are_known() -> None:
    found = walked()
    # An event at noon of day d is known at noon of d + 1, so on the morning of d + 2.
    first = LEAST_KNOWN + 1
    assert [choice.chosen for choice in found.choices] == [day >= first for day in range(DAYS)]
    assert [choice.known for choice in found.choices] == [max(0, day - 1) for day in range(DAYS)]
    assert {choice.threshold for choice in found.choices[:first]} == {0.5}
    assert [choice.threshold for choice in found.choices[first:]] == pytest.approx([0.4] * (DAYS - first))
    assert found.cost == 10 * first + 1
    assert (found.cost_today, found.cost_hindsight) == (121, 1)
    assert (found.missed, found.false) == (first, 1)


def test_a_longer_delay_of_labels_comes_to_a_threshold_later() -> None:
    found = walked(parameters=msgspec.structs.replace(PARAMETERS, label_delay_ns=3 * DAY * S))
    assert [choice.chosen for choice in found.choices].index(True) == LEAST_KNOWN + 3


def test_a_label_is_known_when_it_is_over_and_public_and_no_alarm_can_catch_it_any_more() -> None:
    def known(event: Label, delay: int, after: int = 0) -> float:
        return known_ns(event, Parameters(label_delay_ns=delay * S, after_ns=after * S)) / S

    assert known(label("e", 0, 60, public=10), 5) == 65
    assert known(label("e", 0, 60, public=90), 5) == 95
    assert known(label("e", 0, 60), 0) == 60
    assert known(label("e", 0, 60), 5, after=30) == 90
    assert known(label("e", 0, 60, public=90), 5, after=30) == 95


@given(
    st.integers(0, DAYS - 1),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, DAYS * DAY - 1), st.floats(0.1, 1.0)), max_size=12),
)
def test_what_comes_later_changes_no_threshold_that_was_chosen_before(
    day: int, later: list[tuple[int, int, float]]
) -> None:
    past = [row for row in ROWS if row[1] < day * DAY]
    changed = past + [row for row in later if row[1] >= day * DAY]
    one, other = walked(), walked(sorted(changed))
    before = [choice.threshold for choice in one.choices[: day + 1]]
    assert [choice.threshold for choice in other.choices[: day + 1]] == before
