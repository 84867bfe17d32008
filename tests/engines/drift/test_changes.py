"""What moved, since when, how much."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.drift.budget import detector
from engines.drift.changes import KEPT, Watch, locate

rng = np.random.default_rng(7)


def test_a_step_is_found_where_it_is() -> None:
    change = locate([*rng.normal(size=100), *rng.normal(4, size=30)])
    assert change.since == pytest.approx(30, abs=2)
    assert change.moved == "level"
    assert change.before == pytest.approx(0, abs=0.4)
    assert change.after == pytest.approx(4, abs=0.6)
    assert change.above > 0.97


def test_a_wider_spread_is_told_from_a_step() -> None:
    change = locate([*rng.normal(size=120), *rng.normal(scale=6, size=60)])
    assert change.moved == "spread"
    assert change.since == pytest.approx(60, abs=8)
    assert change.spread > 3
    assert change.above == pytest.approx(0.5, abs=0.15)


def test_what_stood_still_and_moves_has_no_ratio_of_spreads() -> None:
    change = locate([1.0] * 20 + [float(i) for i in range(20)])
    assert change.before == 1.0
    assert math.isinf(change.spread)


def test_a_watch_tells_the_change_when_its_detector_rings() -> None:
    watch = Watch(detector("ranks", 10_000))
    told = [watch.update(value) for value in [*rng.normal(size=400).tolist(), *rng.normal(5, size=40).tolist()]]
    [change] = [change for change in told if change]
    assert change.moved == "level"
    assert change.since >= 3
    assert change.before == pytest.approx(0, abs=0.3)


def test_a_packed_watch_goes_on_as_if_it_had_never_stopped() -> None:
    stream = [*rng.normal(size=2 * KEPT).tolist(), *rng.normal(5, size=40).tolist()]
    through, first, second = (Watch(detector("ranks", 10_000)) for _ in range(3))
    told = [through.update(value) for value in stream]
    before = [first.update(value) for value in stream[:500]]
    second.restore(first.pack())
    assert before + [second.update(value) for value in stream[500:]] == told
    with pytest.raises(ValueError, match="expected bytes that begin with"):
        second.restore(b"none")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="expected a finite value to watch"):
        Watch(detector("ranks", 10_000)).update(value)
