"""Features of a closed bar, in units of the instrument's own trailing spread, and the trailing scales themselves.

No feature depends on the currency, the price level or the lot: a price series times ten has the same features.
"""

from __future__ import annotations

import math

import msgspec

from engines.windows import BarSpec, OpenBar

NAMES = (
    "move",  # return from the last close, in trailing mean absolute returns
    "range",  # high over low, in trailing ranges
    "volatility",  # root of summed squared tick returns, in trailing ones
    "notional",  # log2 of notional over the trailing mean of bars with trades
    "trades",  # log2 of the number of trades, likewise
    "flow",  # order-flow imbalance: (bought - sold) / both, by notional
    "vwap",  # close over the bar's VWAP, in trailing mean absolute returns
    "location",  # where the close lies between low (-1) and high (+1)
    "sweep",  # log2 of trades per aggressive order: orders that eat through the book
    "rate",  # log2 of notional per second over the trailing rate
    "spread",  # log2 of the mean spread over the trailing one; 0 without quotes
    "depth",  # log2 of the mean depth over the trailing one; 0 without quotes
    "lean",  # (bid size - ask size) / both, mean; 0 without quotes
    "silence",  # log2 of bar widths since the last bar with trades
)
CLIP = 16.0  # features are cut to [-CLIP, CLIP]
CAP = 8.0  # a bar moves a trailing scale by at most this many times the scale
FLOOR = 1e-6  # smallest relative price scale: a hundredth of a basis point
LN2 = math.log(2.0)
MAX_GAP = 720.0  # bar widths beyond which a silence makes a move no less surprising


class Scales(msgspec.Struct, kw_only=True):
    """Trailing scales of one instrument, robust by winsorising.

    ``move``, ``range``, ``volatility``, ``spread`` are relative; ``notional``, ``trades``, ``depth`` are per bar.
    ``money``, ``orders``, ``exceedances`` and ``excess`` are sums that decay with event time, ``span_ns`` the time for
    which they stand: their ratios are rates. ``last_close`` and ``last_end`` (ns) are the newest closed bar's.
    """

    bars: int = 0
    last_close: float = 0.0
    last_end: int = 0
    move: float = 0.0
    range: float = 0.0
    volatility: float = 0.0
    notional: float = 0.0
    trades: float = 0.0
    spread: float = 0.0
    depth: float = 0.0
    money: float = 0.0
    orders: float = 0.0
    exceedances: float = 0.0
    excess: float = 0.0
    span_ns: float = 0.0


def gap(spec: BarSpec, scales: Scales, end: int) -> float:
    """Return the bar widths from the last close to ``end`` (ns), at least 1 and at most `MAX_GAP`."""
    if spec.kind != "time":
        return 1.0
    return min(MAX_GAP, max(1.0, (end - scales.last_end) / spec.width_ns))


def of_bar(spec: BarSpec, scales: Scales, bar: OpenBar) -> list[float]:
    """Return the features of a bar in the order of `NAMES`, not yet clipped, by the scales as they were before it."""
    volume, notional, bought, sold, square, trades, orders, quotes, spread, depth, lean = bar.sums
    high, low, close = bar.high, bar.low, bar.close
    silence = gap(spec, scales, bar.end)
    move = range_ = volatility = off_vwap = 0.0
    if scales.bars:
        unit = max(scales.move, FLOOR) * math.sqrt(silence)
        move = (close / scales.last_close - 1.0) / unit
        range_ = (high / low - 1.0) / max(scales.range, FLOOR)
        volatility = math.sqrt(square) / max(scales.volatility, FLOOR)
        vwap = notional / volume if volume > 0 else close
        off_vwap = (close / vwap - 1.0) / unit if vwap > 0 else 0.0
    both = bought + sold
    spread_ = high - low
    span_s = scales.span_ns / 1e9
    return [
        move,
        range_,
        volatility,
        _log2_ratio(notional, scales.notional),
        _log2_ratio(trades, scales.trades),
        (bought - sold) / both if both > 0 else 0.0,
        off_vwap,
        (2.0 * close - high - low) / spread_ if spread_ > 0 else 0.0,
        math.log2(trades / max(orders, 1.0)),
        _log2_ratio(notional / max((bar.end - bar.start) / 1e9, 1e-3), scales.money / span_s if span_s else 0.0),
        _log2_ratio(spread / quotes, scales.spread) if quotes else 0.0,
        _log2_ratio(depth / quotes, scales.depth) if quotes else 0.0,
        lean / quotes if quotes else 0.0,
        math.log2(silence),
    ]


def learn(spec: BarSpec, scales: Scales, bar: OpenBar, memory_bars: int, half_life_ns: float, tail: float) -> None:
    """Bring the scales up to date with a closed bar, in place.

    Parameters
    ----------
    memory_bars
        Effective number of bars that a per-bar scale remembers.
    half_life_ns
        Of the sums that decay with event time (ns).
    tail
        A jump above it (in mean absolute returns) counts as an exceedance.
    """
    _, notional, _, _, square, trades, orders, quotes, spread, depth, _ = bar.sums
    n, end = scales.bars, bar.end
    least = 1.0 / memory_bars
    alpha = max(1.0 / (n + 1), least)
    if n:
        move = abs(bar.close / scales.last_close - 1.0) / math.sqrt(gap(spec, scales, end))
        scales.move = _towards(scales.move, move, max(1.0 / n, least))
        elapsed = max(0, end - scales.last_end)
    else:
        elapsed = end - bar.start
    scales.range = _towards(scales.range, bar.high / bar.low - 1.0, alpha)
    scales.volatility = _towards(scales.volatility, math.sqrt(square), alpha)
    scales.notional = _towards(scales.notional, notional, alpha)
    scales.trades = _towards(scales.trades, trades, alpha)
    if quotes:
        scales.spread = _towards(scales.spread, spread / quotes, alpha)
        scales.depth = _towards(scales.depth, depth / quotes, alpha)
    keep = 2.0 ** (-elapsed / half_life_ns)
    scales.span_ns = scales.span_ns * keep + (1.0 - keep) * half_life_ns / LN2
    scales.money = scales.money * keep + notional
    scales.orders = scales.orders * keep + orders
    scales.exceedances *= keep
    scales.excess *= keep
    if bar.jump > tail:
        scales.exceedances += 1.0
        scales.excess += bar.jump - tail
    scales.bars = n + 1
    scales.last_close, scales.last_end = bar.close, max(scales.last_end, end)


def _towards(scale: float, value: float, alpha: float) -> float:
    most = CAP * scale
    return scale + alpha * ((most if 0.0 < most < value else value) - scale)


def _log2_ratio(value: float, scale: float) -> float:
    return math.log2(value / scale) if value > 0 and scale > 0 else 0.0
