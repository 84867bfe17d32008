"""Bars: time, tick and volume, half-open, with features in the instrument's own units."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.features import NAMES, Scales, learn, of_bar
from engines.ticks import TickConfig, TickEngine
from engines.windows import BUY, NOTIONAL, ORDERS, SELL, SQUARE, TRADES, VOLUME, BarSpec, OpenBar
from schemas.frames import Frame, Kind, frame_of

S = 1_000_000_000


def frame(seconds: list[float], prices: list[float], sizes: list[float], sides: list[int]) -> Frame:
    ts = [int(s * S) for s in seconds]
    return frame_of("A", {"ts_event": ts, "ts_available": ts, "price": prices, "size": sizes, "side": sides})


def test_time_bars_are_half_open() -> None:
    # 0         5        10        15
    # |a       b|c        |         |d      b at 4.999.., c at 5: d closes both
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    update = engine.apply(state, frame([0, 4.999999999, 5, 15], [10, 11, 12, 13], [1, 2, 3, 4], [1, -1, 1, 1]))
    assert update.bars is not None
    assert list(zip(update.bars.start.tolist(), update.bars.end.tolist(), strict=True)) == [(0, 5 * S), (5 * S, 10 * S)]
    assert update.bars.ts_available.tolist() == [15 * S, 15 * S]


def test_a_bar_sums_what_its_trades_say() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, frame([1, 1, 2], [10, 11, 12.1], [1, 2, 3], [1, -1, 1]))
    bar = state.windows.open[0]
    assert (bar.open, bar.high, bar.low, bar.close) == (10, 12.1, 10, 12.1)
    assert bar.sums[VOLUME] == 6
    assert bar.sums[NOTIONAL] == pytest.approx(10 + 22 + 36.3)
    assert (bar.sums[BUY], bar.sums[SELL]) == (pytest.approx(46.3), 22)
    assert (bar.sums[TRADES], bar.sums[ORDERS]) == (3, 2), "two trades at one instant are one order"
    assert bar.sums[SQUARE] == pytest.approx(0.01 + 0.01), "two returns of 10 %"


def test_tick_bars_close_with_their_last_tick() -> None:
    engine = TickEngine(TickConfig(bars=BarSpec(kind="ticks", ticks=2)))
    update = engine.apply(engine.new_state(), frame([1, 2, 3, 4, 5], [10] * 5, [1] * 5, [1] * 5))
    assert update.bars is not None
    assert update.bars.ts_available.tolist() == [2 * S, 4 * S]
    assert update.bars.start.tolist() == [1 * S, 3 * S]
    assert update.bars.end.tolist() == [2 * S + 1, 4 * S + 1]


def test_volume_bars_close_with_the_tick_that_fills_them() -> None:
    engine = TickEngine(TickConfig(bars=BarSpec(kind="volume", volume=5)))
    update = engine.apply(engine.new_state(), frame([1, 2, 3, 4, 5], [10] * 5, [3, 3, 9, 1, 4], [1] * 5))
    assert update.bars is not None
    assert update.bars.ts_available.tolist() == [2 * S, 3 * S, 5 * S]


def test_quotes_give_spread_depth_and_lean() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    quote = {"bid": [9.0, np.nan], "ask": [11.0, np.nan], "bid_size": [3.0, np.nan], "ask_size": [1.0, np.nan]}
    engine.apply(
        state,
        frame_of(
            "A", {"ts_event": [S, 2 * S], "kind": [Kind.QUOTE, 0], "price": [np.nan, 10], "size": [np.nan, 1], **quote}
        ),
    )
    assert state.windows.open[0].sums[-4:] == [1.0, 0.2, 4.0, 0.5]  # quotes, spread / mid, depth, lean
    engine.apply(state, frame([20], [10], [1], [1]))
    assert (state.scales.spread, state.scales.depth) == (0.2, 4.0)


def test_features_are_multiples_of_the_trailing_scales() -> None:
    scales = Scales(
        bars=10, last_close=100.0, last_end=5 * S, move=0.01, range=0.02, volatility=0.005, notional=500.0, trades=4.0,
        money=6000.0, span_ns=60.0 * S,
    )  # fmt: skip
    bar = OpenBar(5 * S, 10 * S, open=101.0, high=104.0, low=100.0, close=102.0)
    bar.sums[VOLUME], bar.sums[NOTIONAL], bar.sums[BUY], bar.sums[SELL] = 10.0, 1000.0, 750.0, 250.0
    bar.sums[SQUARE], bar.sums[TRADES], bar.sums[ORDERS] = 0.0001, 8.0, 2.0
    named = dict(zip(NAMES, of_bar(BarSpec(), scales, bar), strict=True))
    assert named == pytest.approx(
        {
            "move": 2.0, "range": 2.0, "volatility": 2.0, "notional": 1.0, "trades": 1.0, "flow": 0.5, "vwap": 2.0,
            "location": 0.0, "sweep": 2.0, "rate": 1.0, "spread": 0.0, "depth": 0.0, "lean": 0.0, "silence": 0.0,
        }
    )  # fmt: skip


def test_one_wild_bar_moves_a_scale_by_a_bounded_share() -> None:
    scales = Scales(bars=1000, last_close=100.0, last_end=0, move=0.001, range=0.001, volatility=0.001)
    wild = OpenBar(0, 5 * S, open=100.0, high=1000.0, low=100.0, close=1000.0)
    wild.sums[TRADES] = 1.0
    learn(BarSpec(), scales, wild, memory_bars=256, half_life_ns=3600 * S, tail=6.0)
    assert scales.move == pytest.approx(0.001 * (1 + 7 / 256)), "capped at eight times the scale"


def test_sums_halve_with_their_half_life() -> None:
    scales = Scales(bars=1, last_close=10.0, last_end=0, money=800.0, span_ns=1.0)
    bar = OpenBar(3595 * S, 3600 * S, open=10.0, high=10.0, low=10.0, close=10.0)
    bar.sums[NOTIONAL], bar.sums[TRADES] = 100.0, 1.0
    learn(BarSpec(), scales, bar, memory_bars=256, half_life_ns=3600 * S, tail=6.0)
    assert scales.money == 500.0
    # What an hour of a steady stream weighs after it: half-life / ln 2 x (1 - 1/2)
    assert scales.span_ns == pytest.approx(3600 * S / math.log(2) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"grace_ns": 3 * S}, "multiple"),
        ({"grace_ns": 50 * S}, "widths"),
        ({"kind": "ticks", "ticks": 0}, "at least 1"),
        ({"kind": "volume"}, "more than 0"),
    ],
)
def test_a_bar_that_cannot_be_built_is_refused(bad: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BarSpec(**bad)  # type: ignore[arg-type]
