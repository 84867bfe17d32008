"""Background order flow of a day, and the ticks that it leaves: vectorised over seconds and instruments.

Stylised facts that it carries: fat-tailed returns (Student t, 4 degrees of freedom), volatility clustering (log
volatility is an AR(1) of minutes, and another of days), a U-shaped day, a market factor, clustered arrivals
(gamma-mixed Poisson), long runs of equally signed trades (Pareto lengths), spreads and depth that follow volatility.
See Cont (2001), "Empirical properties of asset returns: stylized facts and statistical issues".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.simulator.events import Effects
from schemas.frames import DTYPES, Frame, Kind, frame_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SECOND_NS = 1_000_000_000
TICK = 0.01
#: Rows that an arrival leaves on average, measured; turns ticks a second into arrivals a second.
ROWS_PER_ARRIVAL = 2.42
_TRADES_SHARE = 0.5
LATE_SHARE = 0.0002
_AMENDED_SHARE = 0.00006
_LEVELS = 5
#: Arrivals come in clusters of this mean size, its members about 0.15 s behind the first.
_CLUSTER = 3.0
_TURMOIL, _TURMOIL_STAYS = 0.6, 0.98  # standard deviation of its log; what of that is left a day later


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The day before anything happens in it. Shapes: (n, T) but for ``spread_bps`` and ``lot``, which are (n,)."""

    log_price: Floats
    volatility: Floats  # relative to the instrument's usual one
    arrivals: Floats  # expected a second
    spread_bps: Floats
    lot: Floats  # median trade size, units


def season(seconds: int) -> Floats:
    """Return the U-shaped activity of a session, shape (T,), mean 1."""
    x = np.linspace(-1.0, 1.0, seconds)
    shape = 0.6 + 1.2 * x**2 + 0.6 * (x < 0) * x**8
    return np.asarray(shape / shape.mean(), dtype=np.float64)


def turmoil_after(rng: np.random.Generator, before: Floats) -> Floats:
    """Return the volatility of the next day, times the usual one, shape (n,); ``before`` is that of the day before.

    Its log is an AR(1) of fifty days, half of whose variance all instruments share: quiet and restless days come in
    spells, and returns of days have fat tails.
    """
    shocks = (rng.standard_normal(1) + rng.standard_normal(len(before))) / np.sqrt(2.0)
    after = _TURMOIL_STAYS * np.log(before) + np.sqrt(1 - _TURMOIL_STAYS**2) * _TURMOIL * shocks
    return np.asarray(np.exp(after), dtype=np.float64)


def background(
    rng: np.random.Generator,
    opening: Floats,
    activity: Floats,
    seconds: int,
    ticks_a_second: float,
    turmoil: Floats | float = 1.0,
) -> Background:
    """Draw a day of prices and rates for instruments that open at ``opening`` (currency), shape (n,)."""
    n = len(opening)
    minutes = seconds // 60 + 2
    shocks = rng.standard_normal((minutes, n))
    common = rng.standard_normal((minutes, 1))
    level = np.zeros((minutes, n))
    for minute in range(1, minutes):
        level[minute] = 0.97 * level[minute - 1] + 0.08 * shocks[minute] + 0.05 * common[minute]
    grid = np.arange(seconds) / 60
    log_volatility = np.stack([np.interp(grid, np.arange(minutes), level[:, i]) for i in range(n)])
    day = season(seconds)
    volatility = np.exp(log_volatility) * np.sqrt(day) * np.reshape(turmoil, (-1, 1))

    daily = rng.uniform(0.010, 0.022, n)[:, None] / np.sqrt(23_400)
    beta = rng.uniform(0.3, 0.7, n)[:, None]
    fat = np.sqrt(2.0)  # standard deviation of Student t with 4 degrees of freedom
    market = rng.standard_t(4, (1, seconds)) / fat
    own = rng.standard_t(4, (n, seconds)) / fat
    returns = daily * volatility * (beta * market + np.sqrt(1 - beta**2) * own)
    returns[:, 0] = 0.0
    log_price = np.log(opening)[:, None] + np.cumsum(returns, axis=1)

    rate = ticks_a_second / ROWS_PER_ARRIVAL * activity[:, None] * day * np.exp(0.8 * log_volatility)
    rate *= ticks_a_second / ROWS_PER_ARRIVAL / rate.sum(axis=0).mean()
    return Background(
        log_price=log_price,
        volatility=volatility,
        arrivals=rate,
        spread_bps=rng.uniform(2.0, 8.0, n),
        lot=np.asarray(np.round(np.exp(rng.normal(4.6, 0.3, n))), dtype=np.float64),
    )


def clusters(rng: np.random.Generator, counts: Ints) -> Ints:
    """Return times of arrival in ns since the open, ascending, shape (A,), for ``counts`` clusters in each second."""
    first = np.repeat(np.arange(len(counts)), counts) + rng.random(int(counts.sum()))
    members = rng.geometric(1 / _CLUSTER, len(first))
    number = np.arange(int(members.sum())) - np.repeat(np.cumsum(members) - members, members)
    at = np.repeat(first, members) + np.where(number > 0, rng.exponential(0.15, len(number)), 0.0)
    return np.sort(at[at < len(counts)] * 1e6).astype(np.int64) * 1_000


def _signs(rng: np.random.Generator, n: int) -> npt.NDArray[np.int8]:
    """Return n signs in runs of Pareto lengths: orders are split, so buys follow buys."""
    runs = np.minimum(np.ceil(rng.pareto(1.5, n // 2 + 8) + 0.5), 60).astype(np.int64)
    signs = np.repeat(rng.choice(np.array([-1, 1], dtype=np.int8), len(runs)), runs)
    return np.resize(signs, n)


def ticks_of(
    rng: np.random.Generator, instrument: str, market: Background, index: int, effects: Effects, open_ns: int
) -> Frame:
    """Return the day's ticks of one instrument in one frame, rows in order of arrival at the feed's end.

    An arrival is an order that reaches the book: half of them trade (one print or several), all move the quote, some
    change a level behind it. A few trades are reported seconds late, a few are cancelled or corrected later.
    """
    seconds = market.log_price.shape[1]
    path = market.log_price[index] + effects.drift
    mixed = rng.gamma(0.6, 1 / 0.6, seconds)
    loud = effects.rate > 2  # in an event's burst arrivals are dense anyway; mixing would tear holes into it
    lam = market.arrivals[index] / _CLUSTER * np.where(loud, 1.0, mixed) * effects.rate
    counts = rng.poisson(lam)
    for block_second, _, _ in effects.blocks:
        counts[block_second] += 1
    at = clusters(rng, counts)
    second = at // SECOND_NS
    at, second = at[effects.rate[second] > 0], second[effects.rate[second] > 0]

    mid = np.exp(np.interp(at / SECOND_NS, np.arange(seconds), path))
    volatility = market.volatility[index][second]
    half = np.maximum(mid * market.spread_bps[index] * 0.5e-4 * np.sqrt(volatility), TICK / 2)
    bid = np.maximum(np.floor((mid - half) / TICK + 1e-9), 1)  # (A,) in ticks
    ask = np.maximum(np.ceil((mid + half) / TICK - 1e-9), bid + 1)

    ahead = path[np.minimum(second + 30, seconds - 1)] - path[second]
    lean = 0.3 * np.tanh(ahead / max(1e-9, float(np.std(ahead))))
    lean = np.where(effects.pressure[second] != 0, effects.pressure[second], lean)
    side = _signs(rng, len(at))
    follows = rng.random(len(at)) < np.abs(lean)
    side = np.where(follows, np.sign(lean), side).astype(np.int8)

    is_trade = (rng.random(len(at)) < _TRADES_SHARE) | (effects.rate[second] > 10)
    size = np.maximum(1, np.round(market.lot[index] * np.exp(rng.normal(0, 1, len(at))) * effects.size[second]))
    for block_second, block_side, multiple in effects.blocks:
        row = np.searchsorted(second, block_second)
        is_trade[row], side[row], size[row] = True, block_side, np.round(market.lot[index] * multiple)

    trades = np.repeat(np.flatnonzero(is_trade), 1 + rng.geometric(0.7, int(is_trade.sum())) - 1)
    walk = np.arange(len(trades)) - np.searchsorted(trades, trades)  # 0, 1, … among the prints of one arrival
    prints = {
        "at": at[trades] + walk * 5_000,
        "kind": np.full(len(trades), Kind.TRADE),
        "side": side[trades],
        "price": np.where(side[trades] > 0, ask[trades] + walk, np.maximum(bid[trades] - walk, 1)) * TICK,
        "size": np.maximum(1, np.round(size[trades] / (1 + walk))),
        "trade_id": np.arange(1, len(trades) + 1),
    }
    depth = 100 * np.exp(rng.normal(1.5, 0.6, (2, len(at)))) / np.sqrt(volatility)
    quotes = {
        "at": at + 50_000,
        "kind": np.full(len(at), Kind.QUOTE),
        "bid": bid * TICK,
        "ask": ask * TICK,
        "bid_size": np.maximum(1, np.round(depth[0])),
        "ask_size": np.maximum(1, np.round(depth[1])),
    }
    books = _books(rng, at, bid, ask, depth.mean(axis=0))
    rows = _together(prints, quotes, books)

    event_ns = open_ns + rows.pop("at").astype(np.int64)
    feed = 250_000 + (100_000 * np.exp(rng.normal(0, 0.7, len(event_ns)))).astype(np.int64)
    available_ns = np.maximum.accumulate(event_ns + feed)
    late = (rows["kind"] == Kind.TRADE) & (rng.random(len(event_ns)) < LATE_SHARE)
    event_ns[late] -= rng.integers(2 * SECOND_NS, 8 * SECOND_NS, int(late.sum()))
    frame = frame_of(instrument, {"ts_event": event_ns, "ts_available": available_ns, **_rounded(rows)})
    return amended(rng, frame, effects.halts, open_ns)


def _books(rng: np.random.Generator, at: Ints, bid: Floats, ask: Floats, depth: Floats) -> dict[str, npt.NDArray]:  # type: ignore[type-arg]
    behind = np.repeat(np.arange(len(at)), rng.poisson(0.7, len(at)))
    side = rng.choice(np.array([-1, 1], dtype=np.int8), len(behind))
    level = rng.integers(1, _LEVELS + 1, len(behind))
    price = np.where(side > 0, np.maximum(bid[behind] - level, 1), ask[behind] + level) * TICK
    size = np.where(rng.random(len(behind)) < 0.2, 0, np.round(depth[behind] * (1 + 0.4 * level)))
    return {
        "at": at[behind] + 70_000,
        "kind": np.full(len(at[behind]), Kind.BOOK),
        "side": side,
        "price": price,
        "size": size,
    }


def _together(*tables: dict[str, npt.NDArray]) -> dict[str, npt.NDArray]:  # type: ignore[type-arg]
    """Stack tables of columns in order of ``at``; what a table lacks is NaN, or 0 for side and trade id."""
    order = np.argsort(np.concatenate([table["at"] for table in tables]), kind="stable")
    names = dict.fromkeys(name for table in tables for name in table)
    columns = {}
    for name in names:
        missing = 0 if name in ("side", "trade_id") else np.nan
        parts = [table.get(name, np.full(len(table["at"]), missing)) for table in tables]
        columns[name] = np.concatenate(parts)[order]
    return columns


def _rounded(rows: dict[str, npt.NDArray]) -> dict[str, npt.NDArray]:  # type: ignore[type-arg]
    return {name: np.round(rows[name], 2) if name in ("price", "bid", "ask") else rows[name] for name in rows}


def amended(rng: np.random.Generator, frame: Frame, halts_s: list[tuple[int, int]], open_ns: int) -> Frame:
    """Add what the venue says later: cancels and corrections of some trades, and halts (first and last second)."""
    trades = np.flatnonzero(frame.kind == Kind.TRADE)
    picked = trades[rng.random(len(trades)) < _AMENDED_SHARE * 5]
    delay = rng.integers(20 * SECOND_NS, 300 * SECOND_NS, len(picked))
    is_cancel = rng.random(len(picked)) < 0.5
    restated = np.round(frame.price[picked] * (1 + rng.normal(0, 0.001, len(picked))), 2)
    halts = np.array([open_ns + s * SECOND_NS for span in halts_s for s in span], dtype=np.int64)
    extra = _columns(frame[picked])
    extra["ts_available"] = frame.ts_available[picked] + delay
    extra["kind"] = np.where(is_cancel, Kind.CANCEL, Kind.CORRECTION)
    extra["bid"] = np.where(is_cancel, np.nan, frame.price[picked])
    extra["bid_size"] = np.where(is_cancel, np.nan, frame.size[picked])
    extra["price"] = np.where(is_cancel, frame.price[picked], restated)
    extra["side"] = np.zeros(len(picked))
    status = _columns(frame_of(frame.instrument, {"ts_event": halts, "ts_available": halts + 500_000}))
    status["kind"] = np.resize(np.array([Kind.HALT, Kind.RESUME]), len(halts))
    columns = {name: np.concatenate([values, extra[name], status[name]]) for name, values in _columns(frame).items()}
    order = np.argsort(columns["ts_available"], kind="stable")
    return frame_of(frame.instrument, {name: values[order] for name, values in columns.items()})


def _columns(frame: Frame) -> dict[str, npt.NDArray]:  # type: ignore[type-arg]
    return {name: getattr(frame, name) for name in DTYPES}
