"""Ranks by hand, and the share of quiet scores that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from engines.conformal import BudgetError, p_values, threshold

QUIET = np.array([0.5, 0.1, 0.9, 0.3])


def test_a_p_value_counts_itself_and_what_is_at_least_as_high() -> None:
    assert p_values(QUIET, np.array([0.95, 0.9, 0.4, 0.0])).tolist() == [1 / 5, 2 / 5, 3 / 5, 1.0]


def test_a_threshold_is_passed_where_the_p_value_is_within_the_budget() -> None:
    scores = np.linspace(0, 1, 101)
    for budget in (0.2, 0.4, 0.79):
        assert ((scores > threshold(QUIET, budget)) == (p_values(QUIET, scores) <= budget)).all()


@pytest.mark.parametrize("budget", [0.07, 0.29, 0.57])  # of which the hundredfold is a little less than it should be
def test_a_p_value_of_exactly_the_budget_is_within_it(budget: float) -> None:
    scores = np.arange(99.0)
    assert int((scores > threshold(scores, budget)).sum()) == round(100 * budget) - 1
    assert ((scores > threshold(scores, budget)) == (p_values(scores, scores) <= budget)).all()


@pytest.mark.parametrize("budget", [0.1, 0.01])
def test_quiet_scores_pass_as_often_as_the_budget_says(budget: float) -> None:
    rng = np.random.default_rng(0)
    passed = [
        float(np.mean(scores[500:] > threshold(scores[:500], budget))) for scores in rng.lognormal(size=(300, 1_500))
    ]
    assert float(np.mean(passed)) == pytest.approx(budget, abs=budget / 10)


def test_a_budget_that_so_few_scores_cannot_hold_is_refused_with_how_many_it_takes() -> None:
    with pytest.raises(BudgetError, match=r"1\.00% false alarms takes 99 calibration scores, there are 4"):
        threshold(QUIET, 0.01)
    with pytest.raises(BudgetError, match=r"a budget of 2 is no share"):
        threshold(QUIET, 2.0)
