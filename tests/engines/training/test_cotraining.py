"""Co-training: two views that are wrong on different rows teach each other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn: install the extra `train`")

from sklearn.linear_model import LogisticRegression

from engines.training.cotraining import Floats, Ints, Rounds, co_train, together

LABELLED, ROWS = 8, 2000


def rows(seed: int) -> tuple[list[Floats], Ints]:
    """Two views of 8 numbers, independent of each other once the class is known."""
    rng = np.random.default_rng(seed)
    truth = np.arange(ROWS) % 2
    return [rng.normal(size=(ROWS, 8)) + 0.35 * (2 * truth[:, None] - 1) for _ in range(2)], truth


def right(rounds: Rounds, seed: int) -> float:
    views, truth = rows(seed)
    hidden = np.where(np.arange(ROWS) < LABELLED, truth, -1)  # what may not be read is no class
    models = co_train(views, hidden, np.arange(LABELLED), np.arange(LABELLED, ROWS // 2), LogisticRegression, rounds)
    told = together(models, [view[ROWS // 2 :] for view in views])
    return float(np.mean((told > 0.5) == truth[ROWS // 2 :]))


def test_independent_views_do_with_few_labels_what_one_cannot() -> None:
    alone, taught = (
        np.mean([right(rounds, seed) for seed in range(5)]) for rounds in (Rounds(0, 5, 5), Rounds(20, 5, 5))
    )
    assert taught > alone + 0.05
    assert taught > 0.85


def test_no_row_is_taken_where_fewer_are_left_than_a_round_takes() -> None:
    views = [np.array([[-1.0], [1.0], [-2.0], [2.0]])] * 2
    truth = np.array([0, 1, -1, -1])
    few, none = (
        co_train(views, truth, np.arange(2), np.arange(2, 4), LogisticRegression, rounds)
        for rounds in (Rounds(9, 2, 1), Rounds(0, 2, 1))
    )
    assert together(few, views).tolist() == together(none, views).tolist()
    once = co_train(views, truth, np.arange(2), np.arange(2, 4), LogisticRegression, Rounds(9, 1, 1))
    assert together(once, views)[3] > together(none, views)[3]
    assert truth.tolist() == [0, 1, -1, -1]
