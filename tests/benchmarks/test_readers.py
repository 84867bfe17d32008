"""The benchmark of readers: Cohen's kappa by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.readers import agreement


def test_agreement_is_what_is_above_chance() -> None:
    one = pl.Series(["insider"] * 25 + ["other"] * 25)
    other = pl.Series(["insider"] * 20 + ["other"] * 5 + ["insider"] * 10 + ["other"] * 15)
    found = agreement(one, other, np.arange(50))
    # Agreed 35 of 50; by chance 0.5 * 0.6 + 0.5 * 0.4: (0.7 - 0.5) / (1 - 0.5).
    assert {label: metric.value for label, metric in found.items()} == {
        "all": pytest.approx(0.4),
        "insider": pytest.approx(0.4),
        "other": pytest.approx(0.4),
    }
    assert found["all"].low < 0.4 < found["all"].high
    assert agreement(one, one, np.arange(50))["all"].low == 1.0
