"""Figures and their intervals, beside scikit-learn, by hand, and by what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from engines.backtest.bootstrap import LEVELS, Bootstrap, average_precision
from engines.backtest.results import Estimate

rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0])), min_size=1, max_size=30
)


def columns(found: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([truth for truth, _ in found]), np.array([score for _, score in found])


@given(rows)
def test_average_precision_is_scikit_learns(found: list[tuple[bool, float]]) -> None:
    truth, score = columns(found)
    if truth.any():
        assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))
    else:
        assert average_precision(truth, score) is None


@given(rows)
def test_perfect_is_one_and_one_score_for_all_is_the_base_rate(found: list[tuple[bool, float]]) -> None:
    truth, _ = columns(found)
    if truth.any():
        assert average_precision(truth, truth.astype(float)) == 1
        assert average_precision(truth, np.full(len(truth), 0.3)) == pytest.approx(truth.mean())


def test_chance_is_about_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.1
    assert average_precision(truth, rng.random(20_000)) == pytest.approx(0.1, abs=0.01)


def test_an_interval_is_that_of_draws_made_one_by_one() -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(0, 30, 600)
    truth = rng.random(600) < 0.3
    score = np.round(0.4 * truth + rng.random(600), 2)
    drawn = Bootstrap(30, 400, seed=2)
    by_hand = []
    for counts in drawn.counts.astype(int):
        taken = np.repeat(np.arange(600), counts[block])
        by_hand.append(average_precision_score(truth[taken], score[taken]))
    found = drawn.average_precision(truth, score, block)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(by_hand, (0.025, 0.975))))
    shares = [np.mean(truth[np.repeat(np.arange(600), counts[block])]) for counts in drawn.counts.astype(int)]
    share = drawn.ratio(drawn.per_block(block, truth), drawn.per_block(block))
    assert (share.low, share.high) == pytest.approx(tuple(np.quantile(shares, (0.025, 0.975))))


def test_many_scores_are_told_apart_well_enough_for_an_interval() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(50_000) < 0.02
    score = rng.normal(size=50_000) + 2 * truth
    block = np.arange(50_000) // 1_000
    found = Bootstrap(50, 200, seed=0).average_precision(truth, score, block)
    assert len(np.unique(score)) > LEVELS
    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(average_precision_score(truth, score))
    assert found.low < found.value < found.high  # type: ignore[operator]
    assert found.high - found.low < 0.1


def test_few_true_rows_among_many_keep_their_ranks_in_an_interval() -> None:
    score = np.linspace(1, 0, 60_000)
    truth = np.zeros(60_000, np.bool_)
    truth[:20] = True
    found = Bootstrap(20, 200, seed=0).average_precision(truth, score, np.arange(60_000) % 20)
    assert found == Estimate(1.0, 1.0, 1.0)


def test_quantiles_by_hand() -> None:
    drawn = Bootstrap(6, 300, seed=0)
    median, tenth = drawn.quantiles(np.array([30.0, 10.0, 20.0]), np.array([0, 1, 2]), [0.5, 0.1])
    assert (median.value, tenth.value) == (20, 12)
    assert (median.low, median.high) == (10, 30)
    assert drawn.quantiles(np.empty(0), np.empty(0, np.int64), [0.5]) == [Estimate(None)]


def test_few_blocks_give_no_interval_and_nothing_to_divide_by_no_figure() -> None:
    few = Bootstrap(4, 100, seed=0)
    assert few.ratio([1, 0, 1, 0], [1, 1, 1, 1]) == Estimate(0.5)
    assert few.average_precision(np.array([True, False]), np.array([0.1, 0.2]), np.array([0, 1])) == Estimate(0.5)
    assert few.ratio([0, 0, 0, 0], [0, 0, 0, 0]) == Estimate(None)


def test_calibration_error_by_hand() -> None:
    # Two bins: truth 1, 0 at 0.5 each is no gap; truth 1 at 0.75 and 0.25 is a gap of 1 in four rows.
    gap = np.array([0.5, -0.5, 0.25, 0.75])
    found = Bootstrap(1, 10, seed=0).binned_gap(gap, np.zeros(4, np.int64), np.array([0, 0, 1, 1]), 2)
    assert found == Estimate(0.25)
