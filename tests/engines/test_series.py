"""The anomaly detector for one series."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.series import HOUR_NS, RANK_MEMORY, SHAPES, Alarm, Level, Range, Rank, Season, Shapes, Surprise, resting

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]
STEP_NS = HOUR_NS // 12
PROBATION = 300


def surprises(values: NDArray[np.float64]) -> NDArray[np.float64]:
    detector = Surprise(PROBATION)
    return np.array([detector.update(row * STEP_NS, value) for row, value in enumerate(values.tolist())])


def daily(rows: int = 2000) -> NDArray[np.float64]:
    noise = np.random.default_rng(3).normal(0, 0.3, rows)
    return 10 + 3 * np.sin(2 * np.pi * np.arange(rows) / 288) + noise


def test_p_value_counts_past_statistics_at_least_as_large() -> None:
    rank = Rank()
    assert [rank.update(float(value)) for value in range(1, 22)] == [1.0] * 21
    assert rank.update(20.0) == 2.5 / 22  # 20 and 21 of 21 are as large
    assert rank.update(100.0) == 0.5 / 23


def test_rank_forgets_every_other_past_statistic_when_full() -> None:
    rank = Rank()
    for value in range(RANK_MEMORY + 1):
        rank.update(float(value))
    assert len(rank.past) == RANK_MEMORY // 2 + 1
    assert rank.past[0] == 1.0
    assert rank.past[-1] == RANK_MEMORY


def test_level_is_distance_from_fading_mean_in_deviations() -> None:
    level = Level(width=1, memory=100)
    # The first two only fill the window; 1, 3, 2 have mean 2 and variance 2/3.
    assert [level.update(value) for value in (9.0, 9.0, 1.0, 3.0, 2.0)] == [0.0] * 5
    assert level.update(4.0) == pytest.approx(2 / math.sqrt(2 / 3))


def test_range_is_excess_over_width() -> None:
    outside = Range()
    assert [outside.update(value) for value in (0.0, 4.0, 2.0, 5.0, -5.0)] == [0, 0, 0, 0.25, 1.0]


def test_season_compares_with_the_hour_of_the_day() -> None:
    season = Season(width=2)
    for hour in range(48):
        assert season.update(hour * HOUR_NS, float(hour % 24)) == (0.0, 0.0)
    assert season.update(48 * HOUR_NS, 6.0) == (6.0, 3.0)


def test_shapes_are_compared_with_all_of_the_last_stretches_also_after_the_buffer_was_moved() -> None:
    values = np.random.default_rng(5).normal(size=8000)
    shapes = Shapes()
    told = [shapes.update(value) for value in values.tolist()]
    for end in (200, 6319, 6320, 6321, 7999):
        for length, distance in zip((19, 40), told[end], strict=True):
            newest = values[end - length + 1 : end + 1]
            ends = range(max(39, end - 40 - SHAPES + 1), end - 39)
            squared = sorted(float(((values[e - length + 1 : e + 1] - newest) ** 2).sum()) for e in ends)
            assert distance == pytest.approx(math.sqrt(sum(squared[:5]) / 5))


def test_later_values_change_nothing_before() -> None:
    values = daily(1200)
    changed = values.copy()
    changed[900:] = -50
    np.testing.assert_array_equal(surprises(values)[:900], surprises(changed)[:900])


def test_surprise_does_not_depend_on_the_unit() -> None:
    values = daily(1000)
    np.testing.assert_array_equal(surprises(values), surprises(values * 1024))


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        pytest.param(slice(1500, 1503), lambda values: values + 25, id="spike"),
        pytest.param(slice(1500, 1600), lambda values: values + 4, id="level shift"),
        pytest.param(slice(1500, 1650), lambda values: 0 * values + 10, id="flat line"),
    ],
)
def test_anomaly_is_the_most_surprising_after_the_probation(rows: slice, change: Change) -> None:
    values = daily()
    values[rows] = change(values[rows])
    told = surprises(values)
    assert 1500 <= int(told[PROBATION:].argmax()) + PROBATION < 1660


def test_constant_series_never_surprises() -> None:
    assert surprises(np.full(800, 7.0)).max() < 0.1


def test_alarm_rests_and_scores_half_at_its_threshold() -> None:
    alarm = Alarm(threshold=4.0, probation=10)
    assert resting(10) == alarm.rest == 2
    scores = [alarm.update(surprise) for surprise in [9.0] * 10 + [3.9, 4.0, 8.0, 8.0, 8.0]]
    assert [row for row, score in enumerate(scores) if score >= 0.5] == [11, 14]
    assert scores[11] == 0.5
    assert scores[14] == 0.75
