"""What a large day is: by hand, and of what is known at the close before it."""

from __future__ import annotations

import numpy as np
import pytest

from engines.large_moves import LARGE, TRAILING, sizes


def closes(moves: list[float]) -> np.ndarray:
    return 100 * np.exp(np.cumsum(moves))


def test_the_size_is_of_the_next_day_in_deviations_of_the_sixty_before() -> None:
    moves = [0.02, -0.02] * 31 + [0.05, -0.01]
    found = sizes(closes(moves))
    assert np.isnan(found[:TRAILING]).all()  # of the first close there is no return
    assert found[61] == pytest.approx(2.5)
    assert found[61] > LARGE
    assert np.isnan(found[-1])


def test_what_comes_after_the_next_day_changes_nothing() -> None:
    draw = np.random.default_rng(3)
    moves = draw.normal(0, 0.01, 120).tolist()
    then = sizes(closes(moves[:90]))
    assert sizes(closes(moves))[:89].tolist()[TRAILING:] == pytest.approx(then[:89].tolist()[TRAILING:])


def test_few_days_have_no_size() -> None:
    assert np.isnan(sizes(closes([0.01] * 5))).all()
    assert len(sizes(closes([]))) == 0
