"""The anomaly score is a promise about how often it is reached."""

from __future__ import annotations

import numpy as np
import pytest

from engines.anomaly import RANK_MEMORY, AnomalyConfig, Ranks, fit, rank, score
from engines.features import Scales

CONFIG = AnomalyConfig(tail=6.0)


def test_the_score_is_the_chance_of_a_day_without_such_a_bar() -> None:
    # 8 bars a day exceed 6; 3 scales above it the cube of 2 leaves one of them: x = 1, score = (9/8)^-8
    assert score(CONFIG, np.array([6.0 + 3.0 * 1.5]), 8.0, 1.5, 1.0)[0] == pytest.approx((9 / 8) ** -8)
    assert score(CONFIG, np.array([6.0, 1.0, 0.0]), 8.0, 1.5, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_a_jump_out_of_an_unusual_bar_scores_higher() -> None:
    jump = np.array([20.0])
    assert score(CONFIG, jump, 8.0, 1.5, 0.1)[0] > score(CONFIG, jump, 8.0, 1.5, 1.0)[0]


def test_a_threshold_is_a_budget_of_false_alarms() -> None:
    # Bars whose largest jump has an inverse cubic tail, 1,000 a day for 4,000 days: 0.9 should be reached on about a
    # tenth of days, since the score is the chance that a day has nothing like it.
    draw = np.random.default_rng(4)
    days = 4000
    jumps = 3.0 * draw.random((days, 1000)) ** (-1 / 3)
    exceeding = jumps[jumps > CONFIG.tail]
    scales = Scales(
        exceedances=float(len(exceeding)), excess=float((exceeding - CONFIG.tail).sum()), span_ns=days * 86_400e9
    )
    tail = fit(CONFIG, scales)
    assert tail.per_day == pytest.approx(1000 / 8, rel=0.01)
    assert tail.width == pytest.approx(2.0, rel=0.05)  # 6 / 3: the Pareto's own excess above 6
    reached = (score(CONFIG, jumps.max(axis=1), tail.per_day, tail.width, 1.0) >= 0.9).mean()
    assert 0.08 < reached < 0.14


def test_without_history_the_tail_is_a_cautious_guess() -> None:
    hour = fit(CONFIG, Scales(span_ns=3600e9))
    assert (hour.per_day, hour.width) == (24.0, 4.0)
    assert fit(CONFIG, Scales()).per_day == 0.0


def test_ranks_are_uniform_on_what_they_have_seen_and_forget_by_halves() -> None:
    draw = np.random.default_rng(2)
    ranks = Ranks()
    found = [rank(ranks, value) for value in draw.random(3 * RANK_MEMORY).tolist()]
    assert np.mean(found[100:]) == pytest.approx(0.5, abs=0.02)
    assert np.mean(np.array(found[100:]) > 0.9) == pytest.approx(0.1, abs=0.02)
    assert ranks.total < RANK_MEMORY
    assert max(found) < 1.0
