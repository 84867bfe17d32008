"""What the benchmark of labels says of cases whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.labels import Case, Floats, Way, cosine, judged, logistic


@pytest.mark.parametrize("way", [None, cosine, logistic])
def test_what_lies_apart_is_recalled_within_the_budget(way: Way | None) -> None:
    rng = np.random.default_rng(0)

    def about(n: int) -> Floats:
        return np.asarray(rng.normal(size=(n, 4)) + 9 * np.eye(4)[2])

    case = Case(about(8), rng.normal(size=(400, 4)), about(50), rng.normal(size=(2_000, 4)))
    found = judged(way, case, case.examples, case.background)
    assert (found.auc, found.recall[0.01]) == (1.0, 1.0)
    assert found.false[0.01] == pytest.approx(0.01, abs=0.01)
    assert np.isnan([found.recall[0.001], found.false[0.001]]).all()  # 200 texts cannot tell one in a thousand
