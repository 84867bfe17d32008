"""The yardstick of pretraining: nothing that is learnt from reaches into what is judged."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from benchmarks.pretraining import AHEAD, NEVER, after, parts
from engines.training.tasks.kdd17 import Table
from engines.training.tasks.stocknet import Days

LENGTH = 80


def series(seed: int = 0) -> Table:
    """Two tickers of 80 days each."""
    close = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, 2 * LENGTH)))
    bars = np.stack([close, 1.01 * close, 0.99 * close, close, np.full(2 * LENGTH, 1e6)], 1)
    return Table(bars, np.repeat([0, LENGTH], LENGTH), np.tile(np.arange(LENGTH), 2), np.full(2 * LENGTH, -1))


def test_bars_after_a_close_end_when_the_last_of_them_does_and_stay_with_their_ticker() -> None:
    table, rows = series(), np.array([70, LENGTH - 1 - AHEAD, LENGTH - AHEAD, 2 * LENGTH - 1])
    bars, ends = after(table, rows)
    assert bars.shape == (4, 1 + AHEAD, 5)
    assert ends.tolist() == [70 + AHEAD, LENGTH - 1, NEVER, NEVER]
    changed = table.bars.copy()
    changed[71 + AHEAD :] *= 2.0
    again, _ = after(table._replace(bars=changed), rows)
    assert (again[0] == bars[0]).all()
    assert (again[1] != bars[1]).any()


def test_a_part_learns_from_days_whose_label_ends_before_those_it_is_judged_on() -> None:
    day = np.repeat(np.arange(100), 3)
    names = [str(i) for i in range(300)]
    large = np.where(day == 99, -1, day % 2)
    fold, test = parts(
        Days(names, names, day, day + 1, np.zeros((300, 1)), np.zeros((300, 1)), names, np.zeros((300, 2)), large)
    )
    assert (fold.name, test.name) == ("fold", "test")
    for part in (fold, test):
        assert day[part.known].max() + 1 < part.begin == day[part.asked].min()
    assert day[fold.asked].max() < test.begin
    assert day[test.asked].max() == 98
