"""NAB's score of alarms at instruments and times is that of its rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.backtest import nab
from engines.backtest.cells import Spans
from engines.backtest.rows import NabRows
from tests.engines.backtest.made import DAY, HOUR, S, heard


def spans(rows: list[tuple[int, int, int]]) -> Spans:
    table = [(of, first * S, last * S, at) for at, (of, first, last) in enumerate(rows)]
    return Spans(*np.array(table, np.int64).reshape(-1, 4).T)


def scored(windows: list[tuple[int, int, int]], alarms: list[tuple[int, int]]) -> float:
    of, at = np.array(alarms, np.int64).reshape(-1, 2).T
    return NabRows(heard(days=2), spans(windows), spans(windows), HOUR * S).score(of, at * S)


def test_it_is_the_benchmarks_score_of_minutes() -> None:
    # Two days are 2,880 minutes, of which the first 432 are the probation.
    marks = nab.mark(2 * 24 * 60, [(1_000, 1_060), (2_000, 2_119)])
    alarms = [500, 1_010, 1_020, 1_100, 2_119]
    expected = nab.normalised(nab.raw_score(marks, alarms), 2)
    windows = [(0, 1_000 * 60, 1_060 * 60), (0, 2_000 * 60, 2_100 * 60), (0, 2_050 * 60, 2_119 * 60)]
    assert scored(windows, [(0, minute * 60 + 7) for minute in alarms]) == pytest.approx(expected)


def test_alarms_of_an_instrument_without_windows_cost_what_any_other_does() -> None:
    windows = [(0, DAY, DAY + HOUR)]
    hit, false, early = (0, DAY), (1, DAY + 5 * HOUR), (1, HOUR)
    perfect = scored(windows, [hit])
    assert perfect == pytest.approx(100)
    assert scored(windows, [hit, false]) == pytest.approx(100 - 50 * nab.FALSE_POSITIVE)
    assert scored(windows, [hit, early]) == perfect  # within its probation


def test_where_no_window_counts_there_is_no_score() -> None:
    assert math.isnan(scored([], [(0, DAY)]))
    assert math.isnan(scored([(0, 0, 60)], [(0, DAY)]))
