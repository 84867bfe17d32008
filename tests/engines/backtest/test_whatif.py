"""Thresholds priced by hand, and budgets that are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engines.backtest.field import Field
from engines.backtest.results import Parameters
from engines.backtest.whatif import budgeted, price, rung, steps
from tests.engines.backtest.made import DAY, HOUR, S, heard, label, sweep

ROWS = [(0, 12 * HOUR, 0.6), (0, 18 * HOUR, 0.95), (1, DAY + HOUR, 0.5), (1, DAY + 9 * HOUR, 0.3)]
EVENTS = [label("e", 12 * HOUR, 12 * HOUR + 60), label("f", 20 * HOUR, 20 * HOUR + 60)]
PARAMETERS = Parameters(before_ns=0, after_ns=0, cost_missed=10.0)


def test_prices_by_hand() -> None:
    field = Field(EVENTS, heard(days=2), PARAMETERS)
    today = price(field, sweep(ROWS), "pump", 0.5, labelled=True)
    assert (today.today, today.episodes, today.critical, today.a_day, today.an_instrument_day) == (
        True,
        3,
        1,
        1.5,
        0.75,
    )
    assert (today.caught, today.missed, today.false, today.cost) == (1, 1, 2, 12)
    higher = price(field, sweep(ROWS), "pump", 0.92, labelled=False)
    assert (higher.today, higher.episodes, higher.critical, higher.caught, higher.cost) == (False, 1, 1, None, None)


def test_episodes_are_told_in_the_order_in_which_they_were_known() -> None:
    field = Field([], heard(days=2), PARAMETERS)
    assert [(one.instrument, one.opened_ns, one.score) for one in rung(field, sweep(ROWS), "pump", 0.5)] == [
        ("A.X", 12 * HOUR * S, 0.6),
        ("A.X", 18 * HOUR * S, 0.95),
        ("B.X", (DAY + HOUR) * S, 0.5),
    ]


def test_a_budget_leads_to_the_lowest_threshold_that_keeps_it() -> None:
    field = Field([], heard(days=2), PARAMETERS)
    told = [budgeted(field, sweep(ROWS), "pump", a_day) for a_day in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert told == [0.950001, 0.600001, 0.500001, 0.300001, 0.2]


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2 * DAY - 1), st.floats(0.01, 0.9999)),
        max_size=20,
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 10),
)
def test_no_budget_is_exceeded(rows: list[tuple[int, int, float]], episodes: int) -> None:
    field = Field([], heard(days=2), PARAMETERS)
    swept = sweep(rows)
    threshold = budgeted(field, swept, "pump", episodes / 2)
    assert price(field, swept, "pump", threshold, labelled=False).episodes <= episodes


def test_steps_meet_their_ends() -> None:
    assert steps(0.4, 0.9, 0.05) == [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    assert steps(0.4, 0.5, 0.3) == [0.4]
