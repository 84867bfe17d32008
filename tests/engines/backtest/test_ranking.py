"""Rankings by hand: the k highest of a day, precision over recall, scores beside what happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backtest.bootstrap import Bootstrap
from engines.backtest.ranking import calibration, curve, ring, score_of, top_k, urgencies, urgency
from engines.typologies import TypologySpec


def test_the_k_highest_of_each_day() -> None:
    day = np.array([7, 7, 7, 7, 9, 9])
    truth = np.array([True, False, True, False, True, False])
    found = top_k(day, truth, np.array([0.9, 0.8, 0.1, 0.7, 0.0, 0.5]), 2)
    assert found.day.tolist() == [7, 9]
    assert found.hits.tolist() == [1, 0]  # who scored nothing is not looked at, even where there is room
    assert found.positives.tolist() == [2, 1]
    assert found.heard.tolist() == [4, 2]


def test_those_that_tie_share_the_last_places() -> None:
    truth = np.array([True, True, False, False, False])
    found = top_k(np.zeros(5, np.int64), truth, np.array([0.9, 0.5, 0.5, 0.5, 0.1]), 2)
    assert found.hits[0] == pytest.approx(1 + 1 / 3)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.9])), min_size=1),
    st.integers(1, 6),
)
def test_no_ranking_is_better_than_the_ceiling_and_knowing_all_reaches_it(
    rows: list[tuple[int, bool, float]], k: int
) -> None:
    day, truth = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = top_k(day, truth, np.array([row[2] for row in rows]), k)
    best = top_k(day, truth, truth.astype(float), k)
    ceiling = np.minimum(best.positives, k)
    assert (found.hits <= ceiling + 1e-9).all()
    assert best.hits.tolist() == ceiling.tolist()


def test_urgency_is_a_half_where_a_head_rings_and_keeps_the_order() -> None:
    scores = np.array([0.0, 0.49, 0.98, 0.99, 1.0])
    assert urgency(scores, 0.98).tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert [score_of(float(u), 0.98) for u in urgency(scores, 0.98)] == pytest.approx(scores.tolist())
    assert urgency(np.array([0.5, 1.0]), 1.0).tolist() == [0.25, 0.5]
    both = urgencies({"a": np.array([0.3, 0.0]), "b": np.array([0.1, 0.9])}, {"a": 0.6, "b": 0.9}, 2)
    assert both.tolist() == pytest.approx([0.25, 0.5])


def test_what_opens_to_inform_rings_as_a_warning_where_it_turns_critical() -> None:
    spec = TypologySpec(name="x", version="1", title="", open=0.3, critical=0.6, close=0.1, hold_ns=1, opens_as="info")
    assert (ring(spec, "info"), ring(spec, "warning"), ring(spec, "critical")) == (0.3, 0.6, 0.6)


def test_precision_over_recall_by_hand() -> None:
    truth = np.array([True, False, True, False])
    found = curve("x", truth, np.array([0.9, 0.8, 0.8, 0.1]), 0.5)
    assert [(p.threshold, p.precision, p.recall) for p in found.points] == [
        (0.9, 1.0, 0.5),
        (0.8, pytest.approx(2 / 3), 1.0),
        (0.1, 0.5, 1.0),
    ]
    assert found.operating is not None
    assert (found.operating.precision, found.operating.recall) == (pytest.approx(2 / 3), 1.0)
    assert curve("x", truth, np.full(4, 0.1), 0.5).operating is None
    assert curve("x", np.zeros(4, np.bool_), np.full(4, 0.1), 0.05).points == []


def test_a_curve_of_many_scores_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    found = curve("x", rng.random(5_000) < 0.1, rng.random(5_000), 0.5)
    assert len(found.points) <= 200
    assert found.points[-1].recall == 1
    assert [p.threshold for p in found.points] == sorted((p.threshold for p in found.points), reverse=True)


def test_calibration_by_hand() -> None:
    truth = np.array([False, False, True, True])
    score = np.array([0.0, 0.04, 0.95, 0.55])
    found = calibration("x", truth, score, np.zeros(4, np.int64), Bootstrap(1, 10, 0), 0.05)
    assert [(b.low, b.cells, b.mean, b.share.value) for b in found.bins] == [
        (0.0, 2, pytest.approx(0.02), 0.0),
        (0.5, 1, 0.55, 1.0),
        (0.9, 1, 0.95, 1.0),
    ]
    assert found.ece.value == pytest.approx((0.04 + 0.45 + 0.05) / 4)
    assert found.brier.value == pytest.approx((0.0016 + 0.0025 + 0.2025) / 4)
    assert found.brier_base == 0.25
