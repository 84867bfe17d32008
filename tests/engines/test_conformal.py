"""Ranks by hand, and the share of quiet scores that they promise, where scores stay and where they drift."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engines.conformal import (
    BudgetError,
    Follow,
    Followed,
    follow,
    followed_p_values,
    p_values,
    rings,
    seen,
    settled,
    threshold,
    thresholds,
)

QUIET = np.array([0.5, 0.1, 0.9, 0.3])
TENTHS = Follow(levels=(0.1, 0.5), kept=11, step=0.1)


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
    with pytest.raises(BudgetError, match=r"a budget of nan is no share"):
        threshold(QUIET, float("nan"))
    with pytest.raises(BudgetError, match="1 calibration scores are NaN"):
        threshold(np.append(QUIET, np.nan), 0.5)


@pytest.mark.parametrize("scores", [48, 97, 99, 102, 999])
def test_just_enough_scores_hold_a_budget(scores: int) -> None:
    quiet = np.arange(float(scores))
    assert threshold(quiet, 1 / (scores + 1)) == scores - 1
    with pytest.raises(BudgetError, match=f"takes {scores:,} calibration scores, there are {scores - 1:,}"):
        threshold(quiet[1:], 1 / (scores + 1))


def test_no_way_to_follow_a_drift_takes_a_budget_that_it_cannot_hold() -> None:
    with pytest.raises(BudgetError, match="takes 99 calibration scores, there are 98"):
        Follow(kept=98)
    with pytest.raises(BudgetError, match="takes 99 calibration scores, there are 50"):
        follow(Follow(), np.zeros(50))
    with pytest.raises(BudgetError, match=r"not between 0\.1, the rarest level"):
        rings(TENTHS, np.array([0.1]), 0.05)
    with pytest.raises(BudgetError, match=r"not between 0\.1, the rarest level"):
        rings(TENTHS, np.array([0.1]), float("nan"))
    with pytest.raises(ValueError, match="expected ascending levels"):
        Follow(levels=(0.5, 0.1))


def test_followed_p_values_lie_between_the_levels_of_what_is_kept() -> None:
    state = follow(TENTHS, np.arange(11.0))  # 0 .. 10: the median is 5, a tenth lies above 9
    assert thresholds(TENTHS, state).tolist() == [9.0, 5.0]
    found = followed_p_values(TENTHS, state, np.array([-1.0, 0.0, 5.0, 7.0, 9.0, 99.0]))
    # Half-way between two thresholds the p-value is their geometric mean.
    assert found == pytest.approx([1.0, 1.0, 0.5, (0.5 * 0.1) ** 0.5, 0.1, 0.1])
    assert rings(TENTHS, found, 0.1).tolist() == [False] * 4 + [True] * 2


def test_only_the_last_scores_are_kept() -> None:
    state = seen(TENTHS, follow(TENTHS, np.arange(11.0)), np.arange(100.0, 111.0))
    assert thresholds(TENTHS, state).tolist() == [109.0, 105.0]
    with pytest.raises(ValueError, match="a score is NaN"):
        seen(TENTHS, state, np.array([np.nan]))


def test_settled_scores_move_thresholds_by_what_they_rang() -> None:
    before = follow(TENTHS, np.arange(11.0))
    assert before.spread == pytest.approx(10 - 5)  # threshold of one in ten among eleven, less the median
    after = settled(TENTHS, before, np.array([0.1, 0.5, 1.0]))
    # One of three rang under 0.1, two under 0.5: steps of 0.5 up by 1 - 0.3 and by 2 - 1.5.
    assert after.shifts == pytest.approx((0.5 * 0.7, 0.5 * 0.5))
    assert thresholds(TENTHS, after) == pytest.approx([9.35, 5.25])


def test_scores_that_are_all_alike_do_not_ring() -> None:
    state = follow(TENTHS, np.full(11, 0.3))
    assert followed_p_values(TENTHS, state, np.array([0.3])).tolist() == [1.0]


def test_a_state_is_the_same_after_its_bytes() -> None:
    state = settled(TENTHS, follow(TENTHS, np.arange(11.0)), np.array([0.1]))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Followed) == state


def drifting(seed: int) -> npt.NDArray[np.float64]:
    """Scores (day, instrument) of a year, whose level moves by more than their spread within a month, and widens."""
    rng = np.random.default_rng(seed)
    level = np.cumsum(rng.normal(0, 0.3, 273)) + np.repeat(rng.normal(0, 1, 13), 21)  # (day,)
    return level[:, None] + rng.gamma(2, 1, (273, 80)) * np.linspace(1, 2, 273)[:, None]


def test_coverage_holds_month_by_month_under_a_drift_that_a_fixed_set_fails() -> None:
    """Twelve months after one of calibration; a fifth of the scores is loud, and what is quiet settles 5 days later."""
    config, delay = Follow(kept=100, step=0.001), 5
    for seed in range(3):
        scores = drifting(seed)  # (day, instrument)
        quiet = np.random.default_rng(seed + 10).random(scores.shape) < 0.8
        fixed = np.stack([p_values(scores[:21][quiet[:21]], day) for day in scores])
        state = follow(config, scores[:21][quiet[:21]])
        told = np.ones(scores.shape)
        for day in range(21, len(scores)):
            if day - delay >= 21:
                state = settled(config, state, told[day - delay][quiet[day - delay]])
            state = seen(config, state, scores[day])
            told[day] = followed_p_values(config, state, scores[day])
        months = [slice(day, day + 21) for day in range(21, len(scores), 21)]
        worst = [
            max(
                abs(float(rings(config, p[rows][quiet[rows]], budget).mean()) - budget)
                for rows in months
                for budget in (0.1, 0.01)
            )
            for p in (fixed, told)
        ]
        assert worst[0] > 0.05
        assert worst[1] < 0.01


def test_a_stream_of_single_scores_is_held_by_what_settles() -> None:
    """No scores of the same moment: the level climbs slowly, and the last scores are always a little too low."""
    config = Follow(levels=(0.1, 0.5), kept=200, step=0.02)
    rng = np.random.default_rng(1)
    scores = rng.normal(size=6_000) + np.linspace(0, 30, 6_000)
    rang = {}
    for step in (config, msgspec.structs.replace(config, step=0.0)):
        state = follow(step, scores[:1_000])
        told = []
        for score in scores[1_000:]:
            p = followed_p_values(step, state, np.array([score]))
            state = seen(step, settled(step, state, p), np.array([score]))
            told.append(float(p[0]))
        rang[step.step] = float(rings(step, np.array(told), 0.1).mean())
    assert rang[0.02] == pytest.approx(0.1, abs=0.005)
    assert rang[0.0] > 0.13
