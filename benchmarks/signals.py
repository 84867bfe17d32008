"""Forecasts and texts of `engines.signals` on real data: what is told beforehand, against what then came.

`python -m benchmarks.signals --data ../shared/data`. The engine runs over daily bars (periods of a day, prices adjusted
for splits and dividends by their adjusted close) as it does over those of minutes: each forecast is made before the bar
that it is judged by. What the engine is made of was chosen on kdd17_prices before 2012; the tables are of what came
later there, and of stocknet; the third is of pump_trades, as shipped: trades, bars of five seconds, periods of five
minutes.

*Volatility* is Parkinson's, of the day's range and the close before. QLIKE is that of its square against the forecast's
(Patton 2011), MSE is of logarithms. Beside the forecast: the mean square of the last 22 periods, of about the last
256, and the last alone. *Coverage* is the share of periods inside the interval of 80 %. *Probabilities* are judged by
the area under the curve and by Brier's score, of which skill is the part that they take away from that of the share
among the same periods, which nobody could know beforehand: 0 is the dummy, below 0 worse.
*Bursts* are of stocknet's posts: the share of them that come with a p-value at or below 5 and 1 %, beside that of as
many posts thrown over the same days by chance. Intervals, 95 %: 500 bootstraps over whole weeks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from benchmarks.harness import close, table
from benchmarks.pump import load
from engines import signals
from engines.signals import Moves, Opinion, SignalConfig
from engines.ticks import TickConfig, TickEngine
from schemas.records import Forecast

DAY_NS = 86_400 * 10**9
DAILY = SignalConfig(horizon_ns=DAY_NS)
#: Where the engine's constants were looked for; what is reported of kdd17_prices begins here.
CHOSEN_BEFORE = np.datetime64("2012-01-01")
DRAWS = 500
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Measure = Callable[[Floats], float]


class Bar(NamedTuple):
    """A bar ``[start, end)``, int64 ns, and its prices."""

    start: int
    end: int
    high: float
    low: float
    close: float


class Told(NamedTuple):
    """A period that was foretold: what came, and what had been said. Volatilities and returns are log."""

    block: int
    volatility: float
    change: float
    forecast: float
    low: float
    high: float
    p_up: float
    p_adverse: float
    adverse_move: float
    mean22: float
    mean256: float
    last: float


COLUMN = {name: at for at, name in enumerate(Told._fields)}


def series(path: Path) -> Iterator[list[Bar]]:
    """Yield each ticker's days as bars of adjusted prices."""
    read = pq.read_table(path)
    tickers = np.array(read["ticker"].to_pylist())
    days = np.array(read["date"].to_pylist(), "datetime64[D]")
    high, low, close_, adjusted = (read[name].to_numpy() for name in ("high", "low", "close", "adj_close"))
    prices = np.stack([high, low, close_], axis=1) * (adjusted / close_)[:, None]  # (n, 3)
    for ticker in np.unique(tickers):
        rows = np.flatnonzero(tickers == ticker)
        rows = rows[np.argsort(days[rows], kind="stable")]
        rows = rows[(prices[rows, 1] > 0) & (prices[rows, 0] >= prices[rows, 1])]
        starts = days[rows].astype("datetime64[ns]").astype(np.int64).tolist()
        yield [Bar(at, at + DAY_NS, *three) for at, three in zip(starts, prices[rows].tolist(), strict=True)]


def trades(path: Path) -> list[Bar]:
    """Return the tick engine's bars of five seconds of one file of trades."""
    engine = TickEngine(TickConfig())
    state, ticks, found = engine.new_state(), load(path), list[Bar]()
    for at in range(0, len(ticks), 500):
        if closed := engine.apply(state, ticks[at : at + 500]).bars:
            found += map(Bar, closed.start.tolist(), closed.end.tolist(), *closed.prices.tolist())
    return found


def judged(config: SignalConfig, bars: Iterable[Bar], block: int | None = None, since_ns: int = 0) -> Iterator[Told]:
    """Yield the periods from ``since_ns`` on of one instrument that a whole forecast was made of.

    ``block`` numbers what is drawn together, None for the week.
    """
    moves, past, closing, before, ended = Moves(), [0.0], 0.0, 0.0, 0
    told: Forecast | None = None
    for one in bars:
        slow = math.sqrt(moves.square)
        found = signals.bar(config, moves, *one)
        if found is not None:
            last = one.close if one.start < found.end else closing
            near = found.start - ended <= config.max_gap * config.horizon_ns
            if told is not None and near and found.start >= since_ns:
                yield Told(
                    block=found.start // (7 * DAY_NS) if block is None else block,
                    volatility=found.volatility,
                    change=math.log(last / before),
                    forecast=told.volatility,
                    low=told.low,
                    high=told.high,
                    p_up=told.p_up,
                    p_adverse=told.p_adverse,
                    adverse_move=told.adverse_move,
                    mean22=math.sqrt(sum(one * one for one in past[-22:]) / 22),
                    mean256=slow,
                    last=past[-1],
                )
            told, before, ended = signals.forecast(config, moves), last, found.end
            past.append(found.volatility)
        closing = one.close


def moved(rows: Floats) -> Floats:
    """Return the periods (n, columns) in which the price moved, after one in which it did: others have no logarithm."""
    return rows[(rows[:, COLUMN["volatility"]] > 0) & (rows[:, COLUMN["last"]] > 0)]


def told_of(rows: Floats, name: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return ``p_up`` or ``p_adverse`` (n,), and where what it speaks of came; a return of 0 is no rise and no fall."""
    if name == "p_up":
        rows = rows[rows[:, COLUMN["change"]] != 0.0]
        return rows[:, COLUMN[name]], rows[:, COLUMN["change"]] > 0.0
    return rows[:, COLUMN[name]], rows[:, COLUMN["change"]] < rows[:, COLUMN["adverse_move"]]


def qlike(name: str) -> Measure:
    """Return the measure of a column as a forecast of the square."""

    def measure(rows: Floats) -> float:
        ratio = moved(rows)[:, COLUMN["volatility"]] ** 2 / moved(rows)[:, COLUMN[name]] ** 2
        return float(np.mean(ratio - np.log(ratio) - 1.0))

    return measure


def log_error(name: str) -> Measure:
    """Return the measure of a column as a forecast of the logarithm."""
    return lambda rows: float(np.mean(np.log(moved(rows)[:, COLUMN["volatility"]] / moved(rows)[:, COLUMN[name]]) ** 2))


def coverage(rows: Floats) -> float:
    """Return the share of periods inside the interval."""
    volatility = rows[:, COLUMN["volatility"]]
    return float(np.mean((rows[:, COLUMN["low"]] <= volatility) & (volatility <= rows[:, COLUMN["high"]])))


def skill(name: str) -> Measure:
    """Return the measure of a probability: the part of the Brier score of the share itself that it takes away."""

    def measure(rows: Floats) -> float:
        p, came = told_of(rows, name)
        return 1.0 - float(np.mean((p - came) ** 2) / np.mean((came.mean() - came) ** 2))

    return measure


def area(name: str) -> Measure:
    """Return the measure of a probability's order."""

    def measure(rows: Floats) -> float:
        p, came = told_of(rows, name)
        return float(roc_auc_score(came, p))

    return measure


def share(name: str) -> Measure:
    """Return how often came what a probability speaks of."""
    return lambda rows: float(told_of(rows, name)[1].mean())


def mean(name: str) -> Measure:
    """Return the mean of a probability."""
    return lambda rows: float(told_of(rows, name)[0].mean())


MEASURES: Mapping[str, Measure] = {
    **{f"QLIKE, {name}": qlike(name) for name in ("forecast", "mean22", "mean256", "last")},
    "QLIKE, forecast less mean22": lambda rows: qlike("forecast")(rows) - qlike("mean22")(rows),
    **{f"MSE of logs, {name}": log_error(name) for name in ("forecast", "mean22", "mean256", "last")},
    "coverage of the 80 % interval": coverage,
    "adverse moves: share": share("p_adverse"),
    "adverse moves: mean p": mean("p_adverse"),
    "adverse moves: AUC": area("p_adverse"),
    "adverse moves: Brier skill": skill("p_adverse"),
    "rises: share": share("p_up"),
    "rises: mean p": mean("p_up"),
    "rises: AUC": area("p_up"),
    "rises: Brier skill": skill("p_up"),
}


#: Of the p-values of posts.
SURPRISES: Mapping[str, Measure] = {
    "share with p <= 0.05": lambda rows: float(np.mean(rows[:, 1] <= 0.05)),
    "share with p <= 0.01": lambda rows: float(np.mean(rows[:, 1] <= 0.01)),
}


def intervals(measures: Mapping[str, Measure], rows: Floats, seed: int = 1) -> dict[str, tuple[float, float, float]]:
    """Return each measure of rows (n, columns), the block first, and its 95 % interval over whole blocks."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(rows[:, 0] == week) for week in np.unique(rows[:, 0])]
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(DRAWS):
        some = rows[np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])]
        for name, measure in measures.items():
            drawn[name].append(measure(some))
    return {
        name: (measure(rows), *(float(q) for q in np.quantile(drawn[name], (0.025, 0.975))))  # type: ignore[misc]
        for name, measure in measures.items()
    }


def bursts(times: Ints) -> Iterator[tuple[int, float]]:
    """Yield the week of each post (n,), int64 ns ascending, of one ticker, and its p-value where it has one."""
    opinion, silent = Opinion(), np.zeros(1, np.int8)
    for at in times.tolist():
        signals.hear(DAILY, opinion, at, 0.0, silent)
        found = signals.sentiment(DAILY, opinion, at, 0.0)
        if found is not None and found.burst is not None:
            yield at // (7 * DAY_NS), found.burst


def posts(path: Path) -> Iterator[Ints]:
    """Yield the times (n,), int64 ns ascending, of each ticker's posts."""
    read = pq.read_table(path, columns=["ticker", "created_at"])
    tickers = np.array(read["ticker"].to_pylist())
    times = read["created_at"].cast("timestamp[ns]").to_numpy().astype(np.int64)
    for ticker in np.unique(tickers):
        yield np.sort(times[tickers == ticker])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with kdd17_prices, pump_trades, stocknet")
    options = parser.parse_args()

    since_ns = int(CHOSEN_BEFORE.astype("datetime64[ns]").astype(np.int64))
    figures: dict[str, float] = {}

    def show(title: str, measures: Mapping[str, Measure], rows: Floats) -> None:
        found = intervals(measures, rows)
        table(title, ["measure", "", "from", "to"], [(name, *values) for name, values in found.items()])
        figures.update({f"{title.partition(':')[0]}: {name}": round(found[name][0], 4) for name in found})

    for name, begin_ns in (("kdd17_prices", since_ns), ("stocknet", 0)):
        path = options.data / name / "prices_daily.parquet"
        rows = np.array([told for bars in series(path) for told in judged(DAILY, bars, since_ns=begin_ns)])
        show(f"{name}: {len(rows):,} days foretold", MEASURES, rows)
    paths = sorted((options.data / "pump_trades" / "trades").glob("*.parquet"))
    rows = np.array([told for n, path in enumerate(paths) for told in judged(SignalConfig(), trades(path), n)])
    show(f"pump_trades: {len(rows):,} periods of five minutes foretold", MEASURES, rows)

    rng = np.random.default_rng(1)
    real, chance = [], []
    for times in posts(options.data / "stocknet" / "tweets.parquet"):
        real += list(bursts(times))
        chance += list(bursts(np.sort(rng.integers(times[0], times[-1] + 1, len(times)))))
    for which, pairs in (("stocknet's posts", real), ("posts by chance", chance)):
        show(f"{which}: {len(pairs):,} with a p-value", SURPRISES, np.array(pairs))
    close(**figures)


if __name__ == "__main__":
    main()
