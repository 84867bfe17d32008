"""The yardstick of signals: what is held against what, and that it sees no day before it comes."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.signals import DAILY, DAY_NS, MEASURES, Bar, Told, intervals, judged, series, skill
from engines.signals import SignalConfig

MINUTE_NS = 60 * 10**9
QUICK = SignalConfig(horizon_ns=MINUTE_NS, least=10)


def bars(n: int, seed: int = 1, width: int = 1) -> list[Bar]:
    """Return bars of a random walk, a minute or several apart."""
    draw = np.random.default_rng(seed)
    prices = 10.0 * np.exp(np.cumsum(draw.normal(0.0, 0.01, n)))
    starts = [at * width * MINUTE_NS for at in range(1, n + 1)]
    return [Bar(at, at + MINUTE_NS, 1.01 * p, 0.99 * p, p) for at, p in zip(starts, prices.tolist(), strict=True)]


def test_a_period_is_judged_by_its_own_close_however_it_was_completed() -> None:
    whole = bars(40)
    halves = [
        half
        for one in whole
        for half in (one._replace(end=one.start + MINUTE_NS // 2), one._replace(start=one.start, end=one.end - 1))
    ]
    once, twice = list(judged(QUICK, whole, 0)), list(judged(QUICK, halves, 0))
    # The last of those is never completed: nothing comes after it. The first was not foretold, and ten were tried.
    assert len(once) == 40 - 11 == len(twice) + 1
    assert once[:-1] == twice
    assert once[-1].change == pytest.approx(math.log(whole[-1].close / whole[-2].close))


def test_what_comes_after_a_night_is_left_out() -> None:
    near, far = bars(40, width=QUICK.max_gap + 1), bars(40, width=QUICK.max_gap + 2)
    assert (len(list(judged(QUICK, near, 0))), len(list(judged(QUICK, far, 0)))) == (29, 0)


def test_another_future_changes_nothing_before_it() -> None:
    first = list(judged(QUICK, bars(60), 0))
    other = list(judged(QUICK, [*bars(60)[:50], *bars(60, seed=2)[50:]], 0))
    assert other[:39] == first[:39]
    changed = ("volatility", "change")
    # What was said of the fiftieth stands; what came of it is another thing.
    assert {name: value for name, value in other[39]._asdict().items() if name not in changed} == {
        name: value for name, value in first[39]._asdict().items() if name not in changed
    }
    assert other[39].change != first[39].change


def test_who_tells_the_share_itself_has_no_skill_and_who_knows_has_all() -> None:
    def rows(odds: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        blank = Told(0, 1.0, 0.0, 1.0, 0.5, 2.0, 0.5, 0.5, -1.0, 1.0, 1.0, 1.0)
        return np.array([blank._replace(change=c, p_up=p) for c, p in zip((1.0, -1.0, -1.0, 1.0), odds, strict=True)])

    assert skill("p_up")(rows([0.5] * 4)) == 0.0
    assert skill("p_up")(rows([1.0, 0.0, 0.0, 1.0])) == 1.0


def test_the_interval_holds_on_days_and_the_forecast_beats_trailing_means(data_dir: Path) -> None:
    """Of eight tickers of stocknet; the whole of it is in docs/benchmarks.md."""
    path = data_dir / "stocknet" / "prices_daily.parquet"
    rows = np.array([told for days in islice(series(path), 0, 80, 10) for told in judged(DAILY, days)])
    names = ("coverage of the 80 % interval", "MSE of logs, forecast", "MSE of logs, mean22", "MSE of logs, last")
    found = intervals({name: MEASURES[name] for name in names}, rows)
    (coverage, low, high), (ours, *_), (mean22, *_), (last, *_) = found.values()
    assert len(rows) > 4_000
    assert rows[0, 0] * 7 * DAY_NS > 0
    assert 0.77 < low < coverage < high < 0.85
    assert ours < mean22 < last
