"""Cells: the labels' own, those of nobody, and what is neither."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.backtest.cells import Cells, Heard, Spans, cells, days, highest, own_spans, spans, within
from engines.backtest.matching import Window
from engines.backtest.sweep import Moments
from engines.labels import Label


def label(start: int, end: int, *instruments: str) -> Label:
    return Label(
        event_id=f"{start}", typology="x", start_ns=start, onset_ns=start, end_ns=end, instruments=list(instruments)
    )


def heard(ts: list[tuple[int, int]], from_ns: int = 0, to_ns: int = 100) -> Heard:
    columns = np.array(ts, np.int64).reshape(-1, 2).T
    return Heard(("A", "B"), columns[0], columns[1], from_ns, to_ns)


def made(at: Heard, labels: list[Label], window: Window) -> Cells:
    number = at.number()
    return cells(at, spans(labels, window, number), own_spans(labels, window, number), 10)


def told(found: Cells) -> list[tuple[int, int, int, bool]]:
    return list(
        zip(found.instrument.tolist(), found.first.tolist(), found.last.tolist(), found.truth.tolist(), strict=True)
    )


def test_a_label_has_one_cell_and_what_its_window_touches_besides_is_none() -> None:
    window = Window(before_ns=2, after_ns=12)
    every_period = heard([(number, ts) for number in (0, 1) for ts in range(0, 50, 10)], to_ns=50)
    found = made(every_period, [label(15, 20, "A")], window)
    # The window is [13, 32]: it touches the periods from 10, 20 and 30.
    assert told(found) == [
        (0, 13, 22, True),
        (0, 0, 9, False),
        (0, 40, 49, False),
        *((1, start, start + 9, False) for start in range(0, 50, 10)),
    ]


def test_a_window_shorter_than_a_period_cuts_its_cell_and_the_tested_range_cuts_all() -> None:
    window = Window(before_ns=1, after_ns=1)
    found = made(heard([(0, 7), (0, 31)], 5, 33), [label(15, 16, "A", "A")], window)
    assert told(found) == [(0, 14, 17, True), (0, 5, 9, False), (0, 30, 32, False)]


def test_the_cell_of_a_label_that_began_before_the_tested_range_begins_with_it() -> None:
    assert told(made(heard([], 30, 90), [label(5, 40, "A")], Window(0, 60))) == [(0, 30, 39, True)]


def test_a_period_without_a_word_is_no_cell() -> None:
    assert told(made(heard([(1, 55)]), [], Window())) == [(1, 50, 59, False)]


def test_a_label_of_many_instruments_has_a_cell_of_each_that_was_heard_of() -> None:
    found = made(heard([(0, 0)]), [label(50, 60, "C", "B", "A")], Window(0, 0))
    assert told(found)[:2] == [(1, 50, 59, True), (0, 50, 59, True)]


def test_a_label_that_names_the_market_is_the_markets_and_leaves_the_others_out() -> None:
    at = Heard(("A", "market"), np.array([0, 0, 1]), np.array([5, 55, 55]), 0, 100)
    assert told(made(at, [label(50, 60, "market", "A")], Window(0, 0))) == [(1, 50, 59, True), (0, 0, 9, False)]


def test_days_are_true_where_a_window_touches_them() -> None:
    day = 86_400 * 10**9
    at = heard([(0, 0), (0, day), (0, 2 * day), (1, day)], 0, 3 * day)
    window, number_of = Window(0, 5), {"A": 0, "B": 1}
    found, number = days(at, spans([label(day - 5, day - 5, "A")], window, number_of), spans([], window, number_of))
    assert (number.tolist(), found.truth.tolist()) == ([0, 1, 2, 1], [True, True, False, False])


def test_days_that_only_a_label_outside_of_the_range_touches_are_left_out() -> None:
    day = 86_400 * 10**9
    at, window, number = heard([(0, 0), (1, 0), (0, day)], 0, 2 * day), Window(0, day), {"A": 0, "B": 1}
    found, _ = days(at, spans([label(5, 5, "B")], window, number), spans([label(-9, -9, "A", "B")], window, number))
    assert told(found) == [(0, day, 2 * day - 1, False), (1, 0, day - 1, True)]


def test_the_market_has_no_days_of_an_instrument_and_a_cut_day_is_as_long_as_was_heard() -> None:
    day, hour = 86_400 * 10**9, 3_600 * 10**9
    ts = np.array([hour, 3 * hour, day, day + hour])
    at = Heard(("A", "market"), np.array([0, 1, 0, 1]), ts, hour, 2 * day)
    assert at.instrument_days().tolist() == [0, day]
    assert at.stretches()[1].tolist() == [2 * hour + 60 * 10**9, hour + 60 * 10**9]
    assert at.is_cut(at.stretches()[0]).tolist() == [True, False]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.floats(0.01, 1)), max_size=30),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 20)), max_size=10),
)
def test_the_highest_score_of_a_cell_is_that_of_its_moments(
    rows: list[tuple[int, int, float]], asked: list[tuple[int, int, int]]
) -> None:
    instrument = np.array([row[0] for row in rows], np.int64)
    ts = np.array([row[1] for row in rows], np.int64)
    moments = Moments(instrument, ts, ts, ts, np.array([row[2] for row in rows], np.float64), ts * 0)
    table = np.array([(of, first, first + length) for of, first, length in asked], np.int64).reshape(-1, 3).T
    found = highest(Cells(*table, np.zeros(len(asked), np.bool_)), moments)
    expected = [
        max((s for i, t, s in rows if i == of and first <= t <= first + length), default=0.0)
        for of, first, length in asked
    ]
    assert found.tolist() == expected


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(0, 9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40)), max_size=20),
)
def test_within_agrees_with_looking_at_every_window(
    windows: list[tuple[int, int, int]], alarms: list[tuple[int, int]]
) -> None:
    rows = [(of, first, first + length, at) for at, (of, first, length) in enumerate(windows)]
    spans_ = Spans(*np.array(rows, np.int64).reshape(-1, 4).T)
    instrument, ts = np.array(alarms, np.int64).reshape(-1, 2).T
    expected = [any(of == i and first <= t <= last for of, first, last, _ in rows) for i, t in alarms]
    assert within(spans_, instrument, ts).tolist() == expected
