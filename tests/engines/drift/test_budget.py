"""Budgets of run time: from the table, divided, and asked after the fact."""

from __future__ import annotations

import numpy as np
import pytest

from engines.drift.budget import (
    BUDGETED,
    BudgetError,
    calibrated,
    detector,
    errors,
    moved,
    normals,
    p_value,
    parameter,
    shared,
    time_of,
)
from engines.drift.families import FAMILIES


def test_a_parameter_says_its_run_time() -> None:
    for name in BUDGETED:
        assert time_of(name, parameter(name, 500)) == pytest.approx(500, rel=1e-6)


def test_a_run_time_that_no_detector_has_is_an_error() -> None:
    with pytest.raises(BudgetError, match="expected a run time of 300 updates or more, found 2"):
        detector("ranks", 2)
    with pytest.raises(BudgetError, match="no detector 'rank': there are ranks, short_ranks, surprises, error_rates"):
        detector("rank", 1000)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(BUDGETED)))
def test_a_detector_whose_run_times_are_not_known_has_no_budget(name: str) -> None:
    with pytest.raises(
        BudgetError, match=f"{name} has no budget: its run times are not known; those of ranks, short_ranks, surprises"
    ):
        detector(name, 1000)


def test_detectors_that_share_a_budget_keep_it_together() -> None:
    streams, asked, updates = 5, 250, 25_000
    alarms = 0
    for seed in range(streams):
        watch, stream = detector("ranks", shared(asked, streams)), normals(seed)
        alarms += sum(watch.update(next(stream)) for _ in range(updates))
    assert 0.7 * updates / asked <= alarms <= 1.3 * updates / asked


def test_a_parameter_is_found_on_the_streams_that_it_is_for() -> None:
    found = calibrated(FAMILIES["fhddm"], lambda: iter([errors(1)]), 200, alarms=100)
    watch, stream = FAMILIES["fhddm"].make(found), errors(2)
    assert 70 <= sum(watch.update(next(stream)) for _ in range(20_000)) <= 135


def test_streams_that_end_too_early_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected streams of 20000 values in all, found 10"):
        calibrated(FAMILIES["ranks"], lambda: iter([iter([0.0] * 10)]), 200, alarms=100)


def test_moved_is_the_procedure_of_benjamini_and_hochberg() -> None:
    # The fifteen p-values of section 4.1 of the paper, in which four are significant at 0.05.
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    values += [0.7590, 1.0]
    assert moved(values, 0.05).sum() == 4
    assert not moved([0.2, 0.9], 0.05).any()
    assert moved([], 0.05).size == 0


def test_a_statistic_seldom_reached_has_a_small_p_value() -> None:
    assert p_value(1000, 10) == pytest.approx(1 - np.exp(-0.01))
    assert p_value(10, 1000) == pytest.approx(1)
