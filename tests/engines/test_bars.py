"""Bars in a row: windows keep to their series, trailing figures to what is known, features to no currency."""

from __future__ import annotations

import numpy as np
import pytest

from engines import bars


def test_windows_end_at_their_row_and_begin_with_their_series() -> None:
    first = np.array([0, 0, 0, 3, 3])
    found = bars.windows(np.arange(5.0), first, np.array([1, 2, 4]), 3)
    assert np.array_equal(found, [[np.nan, 0, 1], [0, 1, 2], [np.nan, 3, 4]], equal_nan=True)


def test_trailing_figures_are_of_what_is_known_in_the_series_alone() -> None:
    values = np.array([np.nan, 1.0, 3.0, 5.0, np.nan, 7.0, 9.0])
    first = np.array([0, 0, 0, 0, 4, 4, 4])
    mean, deviation = bars.trailing(values, first, 2)
    assert np.array_equal(np.isnan(mean), [True, True, False, False, True, True, False])
    assert mean[[2, 3, 6]] == pytest.approx([2, 4, 8])
    assert deviation[[2, 3, 6]] == pytest.approx([1, 1, 1])


def test_features_are_in_the_windows_own_deviations() -> None:
    one = np.array([[[10.0, 10.0, 10.0, 10.0, 5.0], [10.0, 12.1, 10.0, 11.0, 5.0], [10.0, 11.0, 10.0, 10.0, 15.0]]])
    step = np.log(1.1)  # the two returns are one step up and one down: their deviation is a step
    expected = [[0, 1, np.log(1.21) / step, 0, 0], [-1, 0, 1, -1, 0]]
    expected[0][3] = (2 * np.log(11) - np.log(121)) / np.log(1.21)
    expected[0][4], expected[1][4] = np.log(5 / 10), np.log(15 / 10)
    assert bars.features(one)[0] == pytest.approx(np.array(expected), abs=1e-6)
    assert bars.features(one * [7, 7, 7, 7, 1000]) == pytest.approx(bars.features(one), abs=1e-5)


def test_bars_that_are_not_there_or_had_no_trades_tell_nothing() -> None:
    window = np.exp(np.random.default_rng(0).normal(0, 0.1, (1, 9, 5)))
    window[0, :3] = np.nan
    window[0, 5, 4] = 0.0
    found = bars.features(window)
    assert found.shape == (1, 8, len(bars.NAMES))
    assert not found[0, :2].any()
    assert found[0, 4, bars.NAMES.index("volume")] == 0
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= bars.CLIP


def test_a_still_market_has_features() -> None:
    assert np.isfinite(bars.features(np.ones((1, 5, 5)))).all()
