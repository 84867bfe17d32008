"""Earnings calls: daily moves are won back from published volatilities, and nothing after a call is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from engines.calls import (
    DAYS,
    closures,
    market_levels,
    price_features,
    squares_of_closes,
    squares_of_volatilities,
    trading_days,
    voice_summary,
)

RNG = np.random.default_rng(0)


def test_closures_are_those_that_the_exchange_published() -> None:
    published = "01-01 01-18 02-15 03-25 05-30 07-04 09-05 11-24 12-26"
    assert sorted(map(str, closures(2016))) == [f"2016-{day}" for day in published.split()]
    assert np.datetime64("2021-12-31") not in closures(2022)  # New Year on a Saturday is not made up for
    assert np.datetime64("2022-06-20") in closures(2022)


def test_trading_days_pass_over_weekends_and_holidays() -> None:
    dates = np.array(["2016-07-01", "2016-07-05", "2016-07-06"], "datetime64[D]")
    assert np.diff(trading_days(dates)).tolist() == [1, 1]


def test_daily_squares_are_won_back_from_windows_and_from_closes_alike() -> None:
    closes = 50 * np.exp(np.cumsum(RNG.normal(0, 0.02, (3, DAYS + 1)), axis=1))
    returns = closes[:, 1:] / closes[:, :-1] - 1
    off = returns - returns.mean(1, keepdims=True)
    windows = np.column_stack([0.5 * np.log((off[:, : DAYS - k] ** 2).mean(1)) for k in range(DAYS)])
    np.testing.assert_allclose(squares_of_closes(closes)[:, 0], off[:, -1] ** 2)
    np.testing.assert_allclose(squares_of_volatilities(windows), squares_of_closes(closes), rtol=1e-6, atol=1e-15)


def test_a_shock_to_the_market_is_seen_on_its_day_by_calls_of_any_date() -> None:
    day = np.repeat(np.arange(100, 120), 5)
    squares = np.full((len(day), DAYS), 1e-4)
    squares[np.arange(len(day)), day - 98] = 1e-2  # tenfold on day 98
    levels = market_levels(day, squares)
    for today in (105, 119):
        one = levels[day == today][0]
        assert one.argmax() == today - 98
        assert one.max() > 1.5
        assert abs(one[1]) < 0.3


def test_calls_of_later_days_change_nothing() -> None:
    day = np.sort(RNG.integers(0, 60, 80))
    squares = np.exp(RNG.normal(-9, 1, (80, DAYS)))
    earlier = day <= 30
    np.testing.assert_array_equal(market_levels(day, squares)[earlier], market_levels(day[earlier], squares[earlier]))


def test_what_moves_the_whole_market_is_not_the_company_s() -> None:
    """Two companies: the second always moves twice as much, and had a call of twice the volatility a quarter before."""
    day = np.array([0, 63, 63])
    ticker = np.array(["B", "A", "B"])
    squares = np.full((3, DAYS), 1e-4) * np.array([16.0, 1.0, 4.0])[:, None]
    squares[1, 0] = 1e-2
    features = price_features(ticker, day, squares, np.zeros((3, DAYS)), np.array([10.0, 20.0, np.e]))
    np.testing.assert_allclose(features[1:, 0], np.log([0.01, 0.02]))
    np.testing.assert_allclose(features[:, 1], [0, np.log(10), 0], atol=1e-12)
    assert features[2, 2] == pytest.approx(1.0)
    np.testing.assert_allclose(features[:, 3], [0, 0, np.log(2) / 2], atol=1e-12)


def test_a_call_without_a_past_is_unknown_and_does_no_harm() -> None:
    day, ticker = np.array([0, 1, 40]), np.array(["A", "B", "A"])
    squares = np.exp(RNG.normal(-9, 1, (3, DAYS)))
    squares[1] = np.nan
    market = market_levels(day, squares)
    features = price_features(ticker, day, squares, market, np.full(3, 10.0))
    assert np.isnan(features[1, :2]).all()
    assert np.isfinite(features[[0, 2]]).all()


def test_a_voice_is_summed_up_over_the_sentences_where_it_is_known() -> None:
    sentences = np.array([[1.0, 5.0, np.nan], [2.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    summary = voice_summary(sentences)
    np.testing.assert_allclose(summary[:2], [2, 5])
    assert np.isnan(summary[2])
    np.testing.assert_allclose(summary[3:6], [np.sqrt(2 / 3), 0, 0])
    np.testing.assert_allclose(summary[6:9], [1, 0, 0])
    assert summary[9] == pytest.approx(np.log(4))
