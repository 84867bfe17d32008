"""The chart's CNN: what it takes, that it learns, and that others' drawings tell it the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch

from engines.charts import BARS, HEIGHT_PX, NUMBERS, WIDTH_PX
from engines.training.models import chart


def walks(count: int, seed: int) -> tuple[chart.Floats, chart.Floats, chart.Ints]:
    """Bars of random walks, their average, and whether the second half's volume is the larger one."""
    rng = np.random.default_rng(seed)
    paths = np.exp(rng.normal(0, 0.01, (count, BARS, 8)).reshape(count, -1).cumsum(1)).reshape(count, BARS, 8)
    late = rng.integers(0, 2, count)
    volume = rng.uniform(1, 2, (count, BARS)) + 3.0 * ((np.arange(BARS) >= BARS // 2) == late[:, None])
    bars = np.stack([paths[:, :, 0], paths.max(2), paths.min(2), paths[:, :, -1], volume], 2)
    average = bars[:, :, 3].cumsum(1) / np.arange(1, BARS + 1)
    return bars, average, late


def test_the_network_takes_charts_and_tells_a_logit_and_the_numbers() -> None:
    bars, average, _ = walks(3, 0)
    pictures = chart.tensor(chart.draw(bars, chart.PLAIN, average))
    assert pictures.shape == (3, 1, HEIGHT_PX, WIDTH_PX)
    told, read = chart.Network()(pictures)
    assert told.shape == (3,)
    assert read.shape == (3, BARS * NUMBERS)


def test_others_draw_differently_each_time_and_alike_by_the_seed() -> None:
    bars, average, _ = walks(4, 0)
    drawn = [chart.imitate(bars, average, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0].shape == (4, HEIGHT_PX, WIDTH_PX)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    for seed in range(40):  # whatever is drawn, there is ink, and most of the chart is background
        some = chart.imitate(bars, average, np.random.default_rng(seed))
        assert (some.max((1, 2)) == 255).all()
        assert np.mean(some > 100) < 0.5


@pytest.mark.long
def test_a_pattern_is_learnt_and_still_seen_where_others_draw() -> None:
    torch.set_num_threads(1)
    bars, average, late = walks(900, 0)
    model = chart.fit(bars, average, late, 0, lambda: None, every=1, epochs=6)
    bars, average, late = walks(300, 1)
    plain = chart.logits(model, bars, average)
    assert np.mean((plain > 0) == late) > 0.97
    redrawn = chart.logits(model, bars, average, np.random.default_rng(0))
    assert np.mean((redrawn > 0) == late) > 0.85  # a tenth of them have no volume
    assert np.corrcoef(plain, redrawn)[0, 1] > 0.75
