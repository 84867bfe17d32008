"""Thresholds that follow open as many episodes as the budget says, whatever scores do and however they are framed."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engines import alert_budget
from engines.alert_budget import MOST, STEP, Spent, concerned, lift, lifted, step
from engines.episodes import Episode, Transition
from engines.typologies import TypologySpec

SPEC = TypologySpec(
    name="x", version="1", title="X", open=0.9, critical=0.99, close=0.05, hold_ns=60 * 10**9, momentary=True
)
DAY_NS = 86_400 * 10**9
MOMENTS = 40_000


def moments(days: int, level: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return scores whose log odds are of a logistic law around a level that jumps up by 3 half-way."""
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, days * DAY_NS, MOMENTS))
    odds = rng.logistic(level, 1.0, MOMENTS) + 3.0 * (ts > days * DAY_NS // 2)
    return ts, 1 / (1 + np.exp(-odds))


def openings(found: list[Transition]) -> int:
    return sum(one.activity == "create" for one in found)


@pytest.mark.parametrize("seed", range(2))
def test_openings_are_the_budget_and_the_way_of_the_threshold(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_budget, "MOST", 50.0)  # no bound binds
    spec, spent = msgspec.structs.replace(SPEC, close=1e-9), Spent(0.0, 0)
    ts, score = moments(100, -3.0, seed)
    found = step(spec, 2.0, spent, Episode(), ts, score)
    way = lift(spec, 2.0, spent, 100 * DAY_NS)
    assert openings(found) == pytest.approx(2.0 * 100 + way / STEP, abs=1e-6)
    second = sum(one.activity == "create" and one.ts > 50 * DAY_NS for one in found)
    assert second == pytest.approx(100, rel=0.1), "after the jump too"


@pytest.mark.parametrize("seed", range(2))
def test_bounds_cost_little(seed: int) -> None:
    ts, score = moments(100, -3.0, seed)
    assert openings(step(SPEC, 2.0, Spent(0.0, 0), Episode(), ts, score)) == pytest.approx(200, rel=0.05)


def test_no_framing_changes_a_bit() -> None:
    ts, score = moments(20, -3.0, 9)
    whole_spent, whole_episode = Spent(0.0, 0), Episode()
    whole = step(SPEC, 1.0, whole_spent, whole_episode, ts, score)
    rng = np.random.default_rng(1)
    spent, episode, found = Spent(0.0, 0), Episode(), []
    cuts = sorted({*range(1_000), *rng.integers(0, MOMENTS, 300).tolist(), MOMENTS})
    for begin, end in itertools.pairwise(cuts):
        part = ts[begin:end], score[begin:end]
        if episode.firing or concerned(SPEC, 1.0, spent, int(part[0].max()), part[1]):
            found += step(SPEC, 1.0, spent, episode, *part)
    assert [(one.activity, one.ts, one.score, one.severity) for one in found] == [
        (one.activity, one.ts, one.score, one.severity) for one in whole
    ]
    assert spent == whole_spent


def test_an_episode_is_judged_by_the_threshold_that_it_opened_at() -> None:
    spec = msgspec.structs.replace(SPEC, momentary=False, critical=0.95)
    spent, episode = Spent(2.0, 0), Episode()
    opens = lifted(spec, 2.0).open
    assert opens > spec.critical
    found = step(spec, 1.0, spent, episode, np.array([1, 2, 3]), np.array([0.94, opens + 1e-3, 0.97]))
    assert [(one.activity, one.index, one.severity) for one in found] == [("create", 1, "critical")]
    assert episode.lift == pytest.approx(2.0)
    assert spent == Spent(episode.lift + STEP, 2)


def test_a_burst_does_not_silence_for_ever_and_calm_scores_never_ring() -> None:
    ts = np.arange(1, 200) * 120 * 10**9
    spent, episode = Spent(0.0, 0), Episode()
    step(SPEC, 0.1, spent, episode, ts, np.ones(len(ts)))
    assert spent.lift <= MOST
    assert lifted(SPEC, MOST).open < 1.0
    assert lifted(SPEC, lift(SPEC, 0.1, Spent(0.0, 0), 10_000 * DAY_NS)).open == pytest.approx(SPEC.close)


def test_time_that_goes_back_earns_nothing() -> None:
    assert lift(SPEC, 1.0, Spent(1.5, 100 * DAY_NS), 3) == 1.5
