"""Stylised facts of the simulator's models beside a real tape and real days.

``python -m benchmarks.facts --data ../shared/data``: up to 60 s the middle one of twelve instruments of each model
beside `crypto_l2_ticks`, by day the value that the books follow beside `kdd17_prices`; writes docs/simulator_facts.svg
and prints the tables of docs/simulator.md.

The tape is 346 s of a pair that trades a hundred times as often as a simulated share. So kurtosis, which grows with the
length of a sample, is also measured in stretches as long as the tape, and of returns over as many orders as take
something in one second, and in ten, of the tape. What one order trades is one event there, in however many prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from engines.instruments import SymbolMaster
from engines.simulator.day import Config, simulate
from engines.simulator.flow import background, turmoil_after
from engines.simulator.lob.units import mids_of
from monitor.converters import crypto_l2_ticks
from monitor.converters.conversion import Report
from monitor.recordings import Message
from monitor.simulation import companies_of
from schemas import frames
from schemas.frames import Frame, Kind

Floats = npt.NDArray[np.float64]
_LAGS = (1, 5, 20)
_SECOND_NS = 1_000_000_000
_STRETCH_S = 345  # the tape's length, in whole returns of a second
_ORDERS_A_SECOND = 9  # that take something, on the tape
_SEEDS = (7, 8)
_DAY_S = 1_800  # of a day of the value: a return of the day is the same but for its scale


def kurtosis(x: Floats) -> float:
    """Return the kurtosis, 3 of a normal distribution."""
    return float(np.mean((x - x.mean()) ** 4) / np.var(x) ** 2)


def memory(x: Floats, lag: int) -> float:
    """Return the autocorrelation at a lag."""
    return float(np.corrcoef(x[:-lag], x[lag:])[0, 1])


def together(parts: list[Frame]) -> Frame:
    """Return the frames of one instrument as one."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in frames.DTYPES}
    return frames.frame_of(parts[0].instrument, columns)


def of_tape(frame: Frame) -> dict[str, float]:
    """Return the facts of one instrument's tape."""
    quotes, trades = frame[frame.kind == Kind.QUOTE], frame[frame.kind == Kind.TRADE]
    quotes, trades = (some[np.argsort(some.ts_event, kind="stable")] for some in (quotes, trades))
    found = {}
    for step_s in (1, 10, 60):
        returns = np.diff(mids_of(quotes, np.arange(quotes.ts_event[0], quotes.ts_event[-1], step_s * _SECOND_NS)))
        n = _STRETCH_S // step_s
        stretches = [returns[i : i + n] for i in range(0, len(returns) - n + 1, n)]
        found[f"kurtosis of returns, {step_s} s"] = kurtosis(returns)
        found[f"the same in stretches of {_STRETCH_S} s, {step_s} s"] = float(
            np.mean([kurtosis(one) for one in stretches if np.ptp(one)])
        )
        if step_s < 60:
            found[f"autocorrelation of absolute returns, {step_s} s"] = memory(np.abs(returns), 1)
    first = np.append(True, np.diff(trades.ts_event) > 0)  # of what an order trades
    for n in (_ORDERS_A_SECOND, 10 * _ORDERS_A_SECOND):
        returns = np.diff(mids_of(quotes, trades.ts_event[first][::n]))
        found[f"kurtosis of returns, {n} orders"] = kurtosis(returns)
        found[f"autocorrelation of absolute returns, {n} orders"] = memory(np.abs(returns), 1)
    spread = quotes.ask - quotes.bid
    found["spread, 90th percentile over median"] = float(np.percentile(spread, 90) / np.median(spread))
    depth = np.concatenate([quotes.bid_size, quotes.ask_size])
    found["depth at the best, 90th percentile over median"] = float(np.percentile(depth, 90) / np.median(depth))
    for what, some in (("trades", trades), ("orders that take", trades[first])):
        for lag in _LAGS:
            found[f"autocorrelation of signs of {what}, lag {lag}"] = memory(some.side.astype(np.float64), lag)
    found["trades an order that takes"] = float(1 / first.mean())
    return found


def middle_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each fact."""
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def of_days(closes: list[Floats]) -> dict[str, float]:
    """Return the facts of daily log returns, mean over instruments; ``closes`` in order of time."""
    returns = [np.diff(np.log(one)) for one in closes]
    return {"kurtosis of returns, day": float(np.mean([kurtosis(x) for x in returns]))} | {
        f"autocorrelation of absolute returns, {lag} days": float(np.mean([memory(np.abs(x), lag) for x in returns]))
        for lag in _LAGS
    }


def simulated_closes(days: int) -> list[Floats]:
    """Return closes of the value on ``days`` days one after another, of twenty instruments."""
    prices, turmoil, closes = np.full(20, 36.0), np.ones(20), []
    for day in range(days):
        base = background(np.random.default_rng([7, day]), prices, np.full(20, 0.05), _DAY_S, 13.0, turmoil)
        prices = np.exp(base.log_price[:, -1])
        turmoil = turmoil_after(np.random.default_rng([7, 1 + day, 2]), turmoil)
        closes.append(prices)
    return list(np.array(closes).T)


def draw(tapes: dict[str, Frame], path: Path) -> None:
    """Write the picture: tails of returns of 10 s, memory of the signs of trades, spreads, one instrument each."""
    figure, (tails, signs, spreads) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for name, frame in tapes.items():
        quotes, trades = frame[frame.kind == Kind.QUOTE], frame[frame.kind == Kind.TRADE]
        quotes = quotes[np.argsort(quotes.ts_event, kind="stable")]
        grid = np.arange(quotes.ts_event[0], quotes.ts_event[-1], 10 * _SECOND_NS)
        size = np.sort(np.abs(np.diff(mids_of(quotes, grid))))
        tails.loglog(size / size.std(), 1 - np.arange(len(size)) / len(size), label=name)
        lags = range(1, 51)
        signs.plot(lags, [memory(trades.side.astype(np.float64), lag) for lag in lags], label=name)
        spread = quotes.ask - quotes.bid
        share = np.linspace(0, 0.99, 100)
        spreads.plot(np.quantile(spread, share) / np.median(spread), share, label=name)
    tails.set(xlabel="absolute return of 10 s, standard deviations", ylabel="share beyond")
    signs.set(xlabel="lag, trades", ylabel="autocorrelation of signs")
    spreads.set(xlabel="spread over its median", ylabel="share of quotes")
    spreads.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, write the picture, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/simulator_facts.svg"))
    parser.add_argument("--days", type=int, default=2_200)
    arguments = parser.parse_args()
    made = crypto_l2_ticks.read(arguments.data / "crypto_l2_ticks", (), None, Report())
    messages: list[Message] = [message for message in made.messages if message.topic == "frames"]
    tapes = {"crypto_l2_ticks": [together([frames.decode(message.value, message.key) for message in messages])]}
    for model in ("agents", "queues"):
        tapes[model] = [
            frame
            for seed in _SEEDS
            for day in simulate(
                Config(model=model, seed=seed, typologies=(), calls=0), companies_of(SymbolMaster.load(), 6)
            )
            for frame in day.ticks[:6]
        ]
    columns = {name: middle_of([of_tape(frame) for frame in some]) for name, some in tapes.items()}
    draw({name: some[0] for name, some in tapes.items()}, arguments.out)
    table = pq.read_table(arguments.data / "kdd17_prices" / "prices_daily.parquet").sort_by("date")
    ticker, close = table["ticker"].to_numpy(), table["adj_close"].to_numpy()
    real_days = of_days([close[ticker == name] for name in np.unique(ticker)])
    value = of_days(simulated_closes(arguments.days))
    print("| fact | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in columns["agents"]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns.values()) + " |")
    print("\n| fact | kdd17_prices | value |\n|---|---|---|")
    for name, fact in real_days.items():
        print(f"| {name} | {fact:.2f} | {value[name]:.2f} |")


if __name__ == "__main__":
    main()
